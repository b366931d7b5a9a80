/* The first line of a script: "#! INTERPRETER [ARGUMENT]". */
#ifndef LPMX_HASHBANG_H
#define LPMX_HASHBANG_H

#define HASHBANG_SIZE 256 /* as the kernel's BINPRM_BUF_SIZE: what the line may hold */

/* Split it in place. @head has HASHBANG_SIZE + 1 bytes, the first two are "#!", the last is NUL.
 * The argument is one, blanks inside it kept, as in the kernel; NULL when there is none. -ENOEXEC:
 * no interpreter, or one cut off by the end of the buffer. -EACCES: none, and no end of the line.
 */
int hashbang_parse(char *head, char **interp, char **arg);

#endif
