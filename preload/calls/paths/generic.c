/* The generic handlers: one path, or one descriptor. */
#include "generic.h"

#include "../../uufs/dirty.h"
#include "../fakeroot/cred.h"
#include "../fakeroot/ownership.h"
#include "../fakeroot/permission.h"
#include "../program/perform.h"
#include "descriptor.h"
#include "resolve.h"

#include <sys/stat.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static bool
sets_mode(const struct call *c)
{
    long nr = c->row->nr;

    return nr == SYS_chmod || nr == SYS_fchmod || nr == SYS_fchmodat || nr == SYS_fchmodat2;
}

/* A directory that was closed: names below it are to be asked for anew. */
static long
perform(struct call *c, bool directory)
{
    bool closes = directory && sets_mode(c);
    long r;

    if (closes && !(c->a[c->row->dirfd == 0 && c->row->path == 1 ? 2 : 1] & S_IXUSR))
        uufs_dirty_set_closed(&engine.fs);
    r = call_raw(c);
    if (!r && closes)
        uufs_moves_add(&engine.fs);
    return r;
}

/* Resolve the path, do what the intent asks, and perform the same call on the host path. */
long
call_path(struct call *c)
{
    struct uufs_hit hit;
    bool descriptor = call_is_descriptor(c);
    int err;

    if (c->row->nr == SYS_truncate && (long)c->a[1] < 0)
        return -EINVAL;
    if (descriptor && (int)c->a[0] == AT_FDCWD && c->a[1]) {
        c->a[1] = (unsigned long)"."; /* the working directory, which may be a layer's */
        descriptor = false;
    }
    err = descriptor ? permission_for_descriptor(c) : 0;
    if (err)
        return err;
    if (descriptor)
        return c->row->intent == INTENT_change ? call_descriptor(c) : call_raw(c);
    err = call_resolve(c, &hit);
    if (!err)
        err = permission_for_call(c, &hit);
    if (!err && hit.magic && c->row->intent == INTENT_change)
        err = call_leave_magic(&hit);
    if (!err && c->row->intent == INTENT_change)
        err = call_make_writable(&hit, UUFS_COPY_DATA);
    if (!err && c->row->nr == SYS_truncate && emulates_root())
        ownership_written(&hit);
    if (err)
        return err;
    c->a[c->row->path] = (unsigned long)hit.host;
    if (c->row->dirfd != CALL_CWD)
        c->a[c->row->dirfd] = (unsigned long)AT_FDCWD;
    return perform(c, hit.in_union && hit.type == S_IFDIR);
}

long
call_descriptor(struct call *c)
{
    int err = call_descriptor_up((int)c->a[0]);
    struct stat st;

    if (err)
        return err;
    return perform(c, sets_mode(c) && !sys2(SYS_fstat, c->a[0], &st) && S_ISDIR(st.st_mode));
}

long
call_fchdir(struct call *c)
{
    int err = permission_check_fd((int)c->a[0], PERMISSION_EXECUTE);

    return err == -EACCES ? err : call_raw(c);
}
