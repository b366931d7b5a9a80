/* The form in which an absolute path is bound from the upper's root. */
#ifndef LPMX_SOCKBIND_H
#define LPMX_SOCKBIND_H

/* What stands before the container's path, which begins with a slash; the kernel reads it as a
 * relative path, and no program writes one so. */
#define SOCKBIND_ROOTED          ".//"
#define SOCKBIND_ROOTED_LEN      3
#define SOCKBIND_IS_ROOTED(path) (!strncmp((path), SOCKBIND_ROOTED "/", SOCKBIND_ROOTED_LEN + 1))

#endif
