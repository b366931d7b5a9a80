/* The links of /proc that the kernel follows by itself, whatever their text says. */
#ifndef LPMX_PROCLINK_H
#define LPMX_PROCLINK_H

enum proc_link { PROC_PLAIN, PROC_EXE, PROC_CWD, PROC_ROOT, PROC_FD };

/* Is @rel, a path below /proc starting with "/", one of them? */
enum proc_link proc_link_kind(const char *rel);

#define PROC_LINK_SIZE 40
/* The link of the descriptor @fd of this process. */
void proc_link_fd(int fd, char link[PROC_LINK_SIZE]);

#endif
