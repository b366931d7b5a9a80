/* Names that a program gives and the upper cannot have: those that look like whiteouts. */
#ifndef LPMX_ESCAPE_H
#define LPMX_ESCAPE_H

#include "../base/sys.h"

/* Is the program's @name another on the disk, or one of @path's? */
bool escape_needs(const char *name, size_t len);
bool escape_needs_any(const char *path, size_t len);
/* str_append of a path as the upper has it; @path is a program's. */
int escape_append(char *dst, size_t cap, size_t *len, const char *path, size_t path_len);
/* The program's name of what the upper calls @name, in place: its length, which is no larger. */
size_t escape_undo(char *name, size_t len);
void escape_undo_all(char *path);

#endif
