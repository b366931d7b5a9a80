/* The union for Python: see host.h. */
#include "host.h"

#include "../engine/plan.h"
#include "../uufs/change/copyup.h"
#include "../uufs/change/create.h"
#include "../uufs/change/owner.h"
#include "../uufs/dirty.h"
#include "../uufs/list/readdir.h"
#include "../uufs/walk/fromhost.h"
#include "../uufs/upper.h"
#include "../uufs/walk/walk.h"

#include <stdlib.h>
#include <sys/stat.h>

struct host {
    struct engine engine;
};

struct host *
host_open(const char *plan, int *err)
{
    struct host *host = calloc(1, sizeof(*host));
    const char *what;

    *err = host ? plan_load(&host->engine, plan, &what) : -ENOMEM;
    if (!*err)
        return host;
    if (host)
        host_close(host);
    return NULL;
}

/* plan_load keeps no sizes. The dirty map's file has a power of two of bytes, and a head behind it:
 * its length is rounded up to that. */
static void
unmap_files(struct engine *e)
{
    const char *plan = (const char *)e->plan;
    const struct uufs *fs = &e->fs;

    if (fs->view.header)
        sys2(SYS_munmap, fs->view.header, fs->view.header->file_size);
    if (fs->dirty)
        sys2(SYS_munmap, fs->dirty, fs->dirty_bits / 8 + (fs->moves ? UUFS_DIRTY_HEAD : 0));
    if (plan && (plan < e->room || plan >= e->room + sizeof(e->room)))
        sys2(SYS_munmap, plan, e->plan->size);
}

void
host_close(struct host *host)
{
    unmap_files(&host->engine);
    free(host);
}

int
host_walk(struct host *host, const char *base, const char *path, unsigned how, struct uufs_hit *hit)
{
    return uufs_walk(&host->engine.fs, base, path, how, hit);
}

int
host_from_host(struct host *host, const char *path, char *ctr, size_t cap)
{
    return uufs_from_host(&host->engine.fs, path, ctr, cap);
}

int
host_shown(struct host *host, const struct uufs_hit *hit, struct owner_shown *shown)
{
    const struct uufs *fs = &host->engine.fs;
    struct extra_file file = {.path = hit->host};
    const struct view_node *n = NULL;
    struct owner owner;
    int r = extra_file_stat(&file);

    if (r)
        return r;
    if (hit->in_union && hit->where == UUFS_LOWER)
        n = view_node(&fs->view, hit->node);
    else if (hit->in_union && hit->where == UUFS_UPPER && owner_read(fs, &file, &owner) == 1)
        r = 1;
    if (r)
        owner_apply(&owner, &file.st);
    *shown = n ? (struct owner_shown){1, n->tar_uid, n->tar_gid,
                                      S_ISLNK(n->mode) ? n->mode : n->tar_mode, n->rdev}
               : (struct owner_shown){(uint32_t)r, file.st.st_uid, file.st.st_gid, file.st.st_mode,
                                      (uint32_t)file.st.st_rdev};
    return 0;
}

long
host_list(struct host *host, const struct uufs_hit *hit, int fd, void *buf, size_t size)
{
    if (!hit->in_union)
        return sys3(SYS_getdents64, fd, buf, size);
    return uufs_getdents(&host->engine.fs, hit->ctr, hit->ctr_len, hit->node, fd, buf, size);
}

int
host_mkdir(struct host *host, struct uufs_hit *hit, unsigned mode)
{
    if (!hit->in_union)
        return hit->read_only ? -EROFS : (int)sys3(SYS_mkdirat, AT_FDCWD, hit->host, mode);
    return uufs_mkdir(&host->engine.fs, hit, mode);
}

int
host_prepare(struct host *host, struct uufs_hit *hit)
{
    if (hit->read_only)
        return -EROFS;
    if (hit->where != UUFS_ABSENT && hit->type == S_IFDIR)
        return -EISDIR;
    if (!hit->in_union)
        return 0;
    hit->where = UUFS_ABSENT; /* the upper's new name will win over whatever is there */
    return uufs_prepare_create(&host->engine.fs, hit);
}

int
host_copy_up(struct host *host, struct uufs_hit *hit)
{
    return uufs_copy_up(&host->engine.fs, hit, UUFS_COPY_DATA);
}

int
host_temp(struct host *host, char path[LPMX_PATH_MAX])
{
    return upper_temp(&host->engine.fs, path);
}

int
host_own(struct host *host, const char *path, const struct owner_shown *shown)
{
    const struct uufs *fs = &host->engine.fs;
    struct extra_file file = {.path = path};
    uint32_t disk;
    int r = extra_file_stat(&file);

    if (r)
        return r;
    disk = owner_disk_mode(file.st.st_mode & S_IFMT, shown->mode);
    if (!S_ISLNK(disk) && disk != file.st.st_mode)
        r = (int)sys3(SYS_fchmodat, AT_FDCWD, path, disk & 07777);
    if (r)
        return r;
    if (!shown->uid && !shown->gid && (S_ISLNK(disk) || shown->mode == disk)) {
        r = extra_remove(fs, &file, OWNER_NAME);
        return r == -ENODATA || r == -EOPNOTSUPP ? 0 : r;
    }
    struct owner owner = {shown->uid, shown->gid, S_ISLNK(disk) ? disk : shown->mode, disk,
                          shown->rdev};

    return owner_write(fs, &file, &owner);
}
