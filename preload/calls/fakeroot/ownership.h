/* Root emulation's side of files: owners, modes and devices that are remembered instead of set, and
 * shown again. Handlers call these only where emulates_root() says so. */
#ifndef LPMX_OWNERSHIP_H
#define LPMX_OWNERSHIP_H

#include "../../uufs/change/extra.h"

/* @st holds what the disk says of @hit (of what it points to, for a magic link that was followed):
 * make it what is shown. */
void ownership_show(const struct uufs_hit *hit, struct stat *st);
/* The same for what /proc/self/fd/N points to. */
void ownership_show_fd(int fd, struct stat *st);

/* The mode to give the kernel for a new name that the program wants with @mode: without setuid
 * bits, and never closed to ourselves. */
unsigned long ownership_new_mode(unsigned long mode, bool directory);
/* A name has been made at hit->host, asked for with @mode: whom does it belong to? */
int ownership_created(const struct uufs_hit *hit, unsigned long mode);
/* A file without a name (O_TMPFILE) has been made in the directory @parent. */
int ownership_created_fd(int fd, const char *parent, unsigned long mode);

/* The file @hit of the upper is open for writing, or is being truncated: a program that is not root
 * takes its setuid and setgid bits away. */
void ownership_written(const struct uufs_hit *hit);

/* Is what the magic link @link of /proc leads to the union's? It may be anything of the host. */
bool ownership_in_union(const char *link);

/* access(2): 0 or -EACCES by the shown mode. */
int ownership_access(const struct uufs_hit *hit, unsigned want, bool effective);

/* Make of the disk's @st of an upper file what is shown. */
void ownership_show_upper(const struct extra_file *file, struct stat *st);
/* Bring disk and record of an upper file to @shown. file->st must be fresh. */
int ownership_store(const struct extra_file *file, const struct stat *shown);
bool ownership_in_upper(const char *host);

#endif
