/* Facts from /proc/PID. */
#ifndef LPMX_EXE_H
#define LPMX_EXE_H

#include "../../base/sys.h"

bool proc_is_own(const char *host); /* is a path below /proc/PID this process's? */
int proc_exe_path(const char *host, char *ctr, size_t cap);
/* Part @part of the state string (engine/execstate.c) of process @pid. 0, 1 (there is none) or
 * -errno.
 */
int proc_state_part(uint32_t pid, size_t part, char *text, size_t cap);

#endif
