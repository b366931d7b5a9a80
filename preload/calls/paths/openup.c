/* Directories and files that are closed to ourselves on the disk, though not to a root: a run
 * without root emulation may have left them so. */
#include "openup.h"

#include "../../uufs/proclink.h"
#include "../../uufs/upper.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/ownership.h"
#include "resolve.h"

#include <sys/stat.h>

/* @host is closed to us, its real owner: open it and remember its mode. */
static bool
open_one(const char *host)
{
    struct extra_file file = {.path = host};
    uint32_t need;
    struct stat shown;

    if (extra_file_stat(&file) || file.st.st_uid != (uint32_t)sys0(SYS_geteuid))
        return false;
    need = S_ISDIR(file.st.st_mode) ? 0700 : S_ISLNK(file.st.st_mode) ? 0 : 0600;
    if ((file.st.st_mode & need) == need)
        return false;
    shown = file.st;
    ownership_show_upper(&file, &shown);
    return !ownership_store(&file, &shown);
}

static bool
open_prefixes(struct uufs_hit *hit)
{
    size_t start = engine.fs.upper_len;
    bool opened = false;

    if (!engine.fs.upper || upper_take(&engine.fs, hit))
        return false;
    for (size_t i = start + 1; i <= hit->host_len; i++) {
        char cut = hit->host[i];

        if (cut && cut != '/')
            continue;
        hit->host[i] = '\0';
        opened |= open_one(hit->host);
        hit->host[i] = cut;
    }
    return opened;
}

static OWN_FRAME bool
open_path(int dirfd, unsigned long path, unsigned how)
{
    struct uufs_hit hit;
    bool opened = false;

    for (int tries = 0; tries < 64; tries++) {
        hit.ctr_len = 0;
        hit.in_union = true;
        int err = call_walk(dirfd, path, how | UUFS_MISSING, &hit);

        if (err && err != -EACCES)
            return opened;
        if (!hit.in_union || !hit.ctr_len || !open_prefixes(&hit))
            return opened;
        opened = true;
        if (!err)
            return true;
    }
    return opened;
}

/* The file behind descriptor @fd, which may be open for reading only. */
static OWN_FRAME bool
open_descriptor(int fd)
{
    char host[LPMX_PATH_MAX];

    return proc_fd_target(fd, host, sizeof(host)) > 0 && ownership_in_upper(host) && open_one(host);
}

bool
openup_call(const struct call *c)
{
    bool opened = false;

    if (!cred_has(cred_now(), CRED_CAP_DAC_OVERRIDE))
        return false;
    if (c->row->intent == INTENT_descriptor)
        return open_descriptor((int)c->a[0]);
    if (c->row->path < 0)
        return false;
    opened = open_path(call_dirfd(c), c->a[c->row->path], call_how(c));
    switch (c->row->nr) {
    case SYS_rename:
    case SYS_link:
        opened |= open_path(AT_FDCWD, c->a[1], 0);
        break;
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_linkat:
        opened |= open_path((int)c->a[2], c->a[3], 0);
        break;
    }
    return opened;
}
