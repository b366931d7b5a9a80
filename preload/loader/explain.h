/* Why a program cannot be started. */
#ifndef LPMX_EXPLAIN_H
#define LPMX_EXPLAIN_H

#include "../base/sys.h"

/* Report what @path of the container, which is there, lacks to be started; false where that is not
 * known. */
bool explain_start(const char *path);
/* The same if its file at @host lies where nothing may be executed. */
bool explain_noexec(const char *path, const char *host);
/* The same for a loader's own file: it cannot be mapped where one is. True. */
bool explain_nested(const char *path);

#endif
