/* Facts from /proc/PID. */
#ifndef LPMX_PROC_H
#define LPMX_PROC_H

#include "../base/sys.h"

/* The number that begins behind @blanks blanks (behind the command's name, if there is one) in a
 * file of /proc; -1. */
long proc_number(const char *path, unsigned blanks);
bool proc_is_own(const char *host); /* is a path below /proc/PID this process's? */
int proc_exe_path(const char *host, char *ctr, size_t cap);
/* Part @part of the state string (engine/execstate.c) of process @pid. 0, 1 (there is none) or
 * -errno.
 */
int proc_state_part(uint32_t pid, size_t part, char *text, size_t cap);

#endif
