/* Entering a container before its first program: every bind has a name to be seen by, and the
 * working directory is the one that was asked for. */
#include "enter.h"

#include "../base/libc.h"
#include "../engine/engine.h"
#include "../uufs/change/create.h"
#include "../uufs/walk/walk.h"
#include "say.h"

#include <sys/stat.h>

/* What is at @dst as the binds before it show it: a mount lies on what the outer ones have. */
static int
look_under(const char *dst, struct uufs_hit *hit)
{
    return uufs_walk(&engine.fs, "/", dst, UUFS_MISSING | UUFS_LAST, hit);
}

/* Is @dst below /dev, /proc or /sys? Root would leave files of ours there. */
static bool
is_kernels(const char *dst)
{
    static const char *const places[] = {"/dev/", "/proc/", "/sys/"};

    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (!strncmp(dst, places[i], strlen(places[i])))
            return true;
    return false;
}

/* A bind needs a name to be seen in listings and by getcwd; where the image or an outer bind has
 * none, it gets one. A seed needs a directory to be in. */
static void
make_mount_point(const struct uufs_bind *b)
{
    static struct uufs_hit hit;
    const char *dst = engine.fs.strings + b->dst;
    int err = look_under(dst, &hit);

    if ((!err && hit.where != UUFS_ABSENT) || is_kernels(dst))
        return;
    for (size_t i = 1; i <= b->dst_len; i++) {
        char part[LPMX_PATH_MAX];

        if ((dst[i] != '/' && dst[i]) || i >= sizeof(part))
            continue;
        memcpy(part, dst, i);
        part[i] = '\0';
        err = look_under(part, &hit);
        if (err || hit.where != UUFS_ABSENT || hit.read_only)
            continue;
        if (i < b->dst_len || !(b->flags & UUFS_BIND_FILE)) {
            uufs_mkdir(&engine.fs, &hit, 0755);
        } else if (!(b->flags & UUFS_BIND_SEED) && !uufs_prepare_create(&engine.fs, &hit)) {
            long fd = sys4(SYS_openat, AT_FDCWD, hit.host, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

            if (fd >= 0)
                sys1(SYS_close, fd);
        }
    }
}

/* Parents first, each on top of those before it. */
void
make_mount_points(void)
{
    uint32_t n_binds = engine.fs.n_binds;
    bool read_only = engine.fs.read_only;

    if (!engine.fs.upper)
        return;
    engine.fs.read_only = false; /* that is for the programs */
    for (uint32_t i = 0; i < n_binds; i++) {
        engine.fs.n_binds = i;
        make_mount_point(&engine.fs.binds[i]);
    }
    engine.fs.n_binds = n_binds;
    engine.fs.read_only = read_only;
}

void
enter_cwd(const char *cwd)
{
    static struct uufs_hit hit;
    int err = uufs_walk(&engine.fs, "/", cwd, UUFS_FOLLOW, &hit);

    if (!err)
        err = (int)sys1(SYS_chdir, hit.host);
    if (err == -ENOENT) {
        engine_say("working directory ", cwd, ": there is none in the container (bind it, or cd)");
        quit(126);
    }
    if (err)
        die(126, cwd, err);
}

/* Stay in the caller's directory, which is @cwd on the host. What the container shows at that path
 * must be it: a relative name means the same file on both sides, or nothing is started. The root is
 * let through, since daemons stand there without meaning it. */
void
stay_here(const char *cwd)
{
    struct stat was, is;
    bool known = sys2(SYS_stat, ".", &was) == 0;

    enter_cwd(cwd);
    if (!strcmp(cwd, "/"))
        return;
    if (!known || sys2(SYS_stat, ".", &is) || was.st_dev != is.st_dev || was.st_ino != is.st_ino) {
        engine_say("working directory ", cwd, ": the container shows another one (bind it, or cd)");
        quit(126);
    }
}
