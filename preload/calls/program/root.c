/* chroot(2): "/", ".." and absolute links of a process count from another directory of the
 * container. The kernel's own root stays what it is; the walk asks here where to begin.
 *
 * What it is not: a mount, or a border. The directory is known by its name, so it must not be
 * moved while processes live in it. */
#include "root.h"

#include "../../base/libc.h"
#include "../../engine/engine.h"
#include "vfork.h"

#include <sys/stat.h>

HOT_FILE;

#define PATHS   8
#define VFORKED 16

/* Threads may be walking from an old root while a new one is set: it gets a text of its own. */
static char paths[PATHS][LPMX_PATH_MAX];
static unsigned next_path;
HOT static const char *own; /* NULL: the container's */
/* A vfork child runs on its parent's memory and must not move the parent. */
static struct {
    int pid; /* 0: free; negative: it is about to leave */
    const char *root;
} vforked[VFORKED];
HOT static unsigned n_vforked; /* that ever were */

static int
find(int pid)
{
    for (unsigned i = 0; i < VFORKED && i < n_vforked; i++)
        if (__atomic_load_n(&vforked[i].pid, __ATOMIC_ACQUIRE) == pid)
            return (int)i;
    return -1;
}

static int
own_entry(int sign)
{
    return n_vforked ? find(sign * (int)sys0(SYS_getpid)) : -1;
}

const char *
root_now(void)
{
    int i = own_entry(1);

    return i >= 0 ? vforked[i].root : __atomic_load_n(&own, __ATOMIC_ACQUIRE);
}

void
root_leave(void)
{
    int i = own_entry(1);

    if (i >= 0)
        vforked[i].pid = -vforked[i].pid;
}

void
root_stay(void)
{
    int i = own_entry(-1);

    if (i >= 0)
        vforked[i].pid = -vforked[i].pid;
}

static int
set(const char *root)
{
    int pid = (int)sys0(SYS_getpid), i = own_entry(1);

    if (i < 0 && vfork_shares_memory() > 0) {
        unsigned n = __atomic_fetch_add(&n_vforked, 1, __ATOMIC_ACQ_REL);

        i = (int)(n % VFORKED);
        vforked[i].root = root;
        __atomic_store_n(&vforked[i].pid, pid, __ATOMIC_RELEASE);
    } else if (i >= 0) {
        vforked[i].root = root;
    } else {
        __atomic_store_n(&own, root, __ATOMIC_RELEASE);
    }
    engine.fs.root = root_now;
    return 0;
}

int
root_set(const char *ctr)
{
    size_t len = strlen(ctr);
    char *path;

    if (len <= 1)
        return engine.fs.root ? set(NULL) : 0;
    if (len >= LPMX_PATH_MAX)
        return -ENAMETOOLONG;
    path = paths[__atomic_fetch_add(&next_path, 1, __ATOMIC_RELAXED) % PATHS];
    memcpy(path, ctr, len + 1);
    return set(path);
}

void
root_restore(const char *path)
{
    if (!path[0])
        return;
    own = path;
    engine.fs.root = root_now;
}

const char *
root_show(const char *ctr, bool *outside)
{
    const char *root = engine.fs.root ? root_now() : NULL;
    size_t len = root ? strlen(root) : 0;

    *outside = false;
    if (!root)
        return ctr;
    *outside = strncmp(ctr, root, len) || (ctr[len] && ctr[len] != '/');
    if (*outside)
        return ctr;
    return ctr[len] ? ctr + len : "/";
}
