/* Permission bits under root emulation, for programs that gave root's rights up: the kernel cannot
 * refuse them anything, since every file is the real user's. Where the union's files are concerned
 * the shown owners and modes decide; files of the host, in binds, are the kernel's business. All
 * answer 0 at once where nothing is to be refused. */
#ifndef LPMX_PERMISSION_H
#define LPMX_PERMISSION_H

#include "../../uufs/uufs.h"

enum permission { /* bits to be combined, as those of access(2) */
                  PERMISSION_EXECUTE = 1,
                  PERMISSION_WRITE = 2,
                  PERMISSION_READ = 4,
};

struct call;

/* How a program's own path is walked (enum uufs_how): from its root, and through directories that
 * it may search. */
unsigned permission_how(void);
/* For fs->may_search: see uufs/uufs.h. */
int permission_search(const struct view_node *lower, const char *upper);
/* Of what was found: -EACCES. */
int permission_check(const struct uufs_hit *hit, unsigned want);
/* A name in the directory of @hit is made. -EACCES. */
int permission_to_make(const struct uufs_hit *hit);
/* The name @hit is removed, moved or replaced. -EACCES, -EPERM: its directory is sticky. */
int permission_to_remove(const struct uufs_hit *hit);
/* A directory is moved away from its parent. -EACCES. */
int permission_to_move(const struct uufs_hit *from, const struct uufs_hit *to);
/* Of the file behind a descriptor, however that was opened: -EACCES. */
int permission_check_fd(int fd, unsigned want);
/* What the generic calls want of a path: chdir, truncate, inotify_add_watch, utimes ... */
int permission_for_call(const struct call *c, const struct uufs_hit *hit);
/* The same of the descriptor that is the call's first argument: futimens. */
int permission_for_descriptor(const struct call *c);
/* The file gets another name: fs.protected_hardlinks of proc_sys_fs(5). -EPERM. */
int permission_to_link(const struct uufs_hit *hit);
/* What opening with @flags wants of a file that is there. */
int permission_to_open(const struct uufs_hit *hit, unsigned long flags);

#endif
