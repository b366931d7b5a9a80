/* What files of /proc contain, with the container's paths. */
#ifndef LPMX_CONTENTS_H
#define LPMX_CONTENTS_H

#include "../../base/sys.h"

enum contents {
    CONTENTS_NONE, /* the kernel's own */
    CONTENTS_MAPS,
    CONTENTS_MOUNTS,
    CONTENTS_MOUNTINFO,
    CONTENTS_STATUS,
};

/* Write what the file @host of /proc, which is of that @kind, shows to @fd. @mask: the signal mask
 * of the thread that it is about, where that is the calling one, else NULL. 0 or -errno. */
long contents_write(enum contents kind, const char *host, const uint64_t *mask, int fd);

#endif
