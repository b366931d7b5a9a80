/* The requests of ioctl that change a file through a descriptor that was opened for reading: the
 * flags of chattr, and verity. The file of a layer is every container's: it has none of them. */
#include "../../engine/engine.h"
#include "../../uufs/proclink.h"
#include "../../uufs/walk/fromhost.h"
#include "../program/perform.h"

#include <linux/fs.h>
#include <linux/fsverity.h>

static OWN_FRAME bool
is_lower(int fd)
{
    char host[LPMX_PATH_MAX];

    proc_fd_target(fd, host, sizeof(host));
    return uufs_host_is_lower(&engine.fs, host);
}

long
call_ioctl(struct call *c)
{
    unsigned request = (unsigned)c->a[1];
    bool changes = request == FS_IOC_SETFLAGS || request == FS_IOC_FSSETXATTR ||
                   request == FS_IOC_ENABLE_VERITY;

    return changes && is_lower((int)c->a[0]) ? -EOPNOTSUPP : call_raw(c);
}
