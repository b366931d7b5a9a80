/* New names: what must be so before one is created, and mkdir, the one creation that a whiteout
 * makes difficult. */
#include "create.h"

#include "../../base/str.h"
#include "../dirty.h"
#include "../lock.h"
#include "../path.h"
#include "../upper.h"
#include "../walk/hit.h"
#include "../whiteout.h"
#include "copyup.h"

#include <sys/stat.h>

int
uufs_prepare_create(const struct uufs *fs, struct uufs_hit *hit)
{
    int err;

    if (hit->where != UUFS_ABSENT)
        return -EEXIST;
    if (hit->read_only)
        return -EROFS;
    if (!hit->in_union)
        return 0;
    err = uufs_make_parents(fs, hit->ctr, hit->ctr_len);
    if (err)
        return err;
    uufs_dirty_set(fs, hit->ctr, hit->ctr_len);
    return upper_take(fs, hit);
}

/* A directory made in WORK does not inherit the group of a set-group-id parent as one made in its
 * place would. */
static uint32_t
inherit_group(char *host, size_t len, const char *temp, uint32_t mode)
{
    size_t dir_len = path_parent(host, len);
    struct stat st;
    long r;

    host[dir_len] = '\0';
    r = sys4(SYS_newfstatat, AT_FDCWD, host, &st, 0);
    host[dir_len] = '/';
    if (r || !(st.st_mode & S_ISGID))
        return mode;
    sys5(SYS_fchownat, AT_FDCWD, temp, (uint32_t)-1, st.st_gid, 0);
    return mode | S_ISGID;
}

/* An opaque directory in WORK; *@mode becomes what it shall have once it is in place. */
static int
make_opaque_temp(const struct uufs *fs, char *host, size_t len, char *temp, uint32_t *mode)
{
    uint32_t got = 0;
    long r;

    do {
        r = upper_temp(fs, temp);
        if (!r)
            r = sys3(SYS_mkdirat, AT_FDCWD, temp, *mode);
    } while (r == -EEXIST);
    if (!r)
        r = upper_exists(temp, &got);
    if (r < 0)
        return (int)r;
    *mode = inherit_group(host, len, temp, got & 07777);
    /* the mark goes inside, and a directory must be writable to be moved */
    r = sys3(SYS_fchmodat, AT_FDCWD, temp, *mode | 0700);
    return r ? (int)r : opaque_make_at(fs, temp, strlen(temp));
}

static void
drop_opaque_temp(char *temp)
{
    size_t dir_len = strlen(temp), len = dir_len;

    if (!str_append(temp, LPMX_PATH_MAX, &len, "/" WHITEOUT_OPAQUE, sizeof(WHITEOUT_OPAQUE)))
        sys3(SYS_unlinkat, AT_FDCWD, temp, 0);
    temp[dir_len] = '\0';
    sys3(SYS_unlinkat, AT_FDCWD, temp, AT_REMOVEDIR);
}

/* A directory over a name that the layers have: nothing of theirs may show in it, not for a moment.
 */
static OWN_FRAME int
mkdir_opaque(const struct uufs *fs, struct uufs_hit *hit, uint32_t mode)
{
    char temp[LPMX_PATH_MAX];
    int err = make_opaque_temp(fs, hit->host, hit->host_len, temp, &mode), lock;

    uufs_dirty_set_opaque(fs, hit->ctr, hit->ctr_len);
    if (!err) {
        lock = uufs_lock(fs);
        err = lock < 0 ? lock : upper_publish(temp, hit->host, true);
        uufs_unlock(lock);
    }
    if (err)
        drop_opaque_temp(temp);
    else if ((mode & 0700) != 0700)
        sys3(SYS_fchmodat, AT_FDCWD, hit->host, mode);
    return err == -ENOTEMPTY ? -EEXIST : err;
}

int
uufs_mkdir(const struct uufs *fs, struct uufs_hit *hit, unsigned mode)
{
    int err = uufs_prepare_create(fs, hit);

    if (err)
        return err;
    if (!(mode & S_IXUSR))
        uufs_dirty_set_closed(fs);
    if (hit_needs_whiteout(fs, hit))
        return mkdir_opaque(fs, hit, mode);
    return (int)sys3(SYS_mkdirat, AT_FDCWD, hit->host, mode);
}
