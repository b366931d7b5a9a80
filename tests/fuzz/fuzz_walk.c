/* Any bytes as a path, in a union with every kind of turn: links of all sorts in layers, upper and
 * binds, whiteouts, opaque and replaced folders. What is found lies in a place that the union is
 * made of, has a canonical name, and that name finds it again.
 *
 * Input: one byte of enum uufs_how, the base folder's number, the path. */
#include "../c/union_tools.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct box box;
static char bound[128];
static const char *const bases[] = {"/", "/usr/bin", "/deep/a/b", "/data", "/opt", "/proc/self"};

static void
lower_layers(struct box *b)
{
    box_layer(b);
    for (const char *const *dir = (const char *const[]){"usr", "usr/bin", "deep", "deep/a",
                                                        "deep/a/b", "opt", "hidden", "proc", NULL};
         *dir; dir++)
        layer_dir(b, *dir, 0755);
    layer_put(b, "usr/bin/sh", "sh", 0755);
    layer_put(b, "hidden/f", "f", 0644);
    layer_put(b, "opt/old", "old", 0644);
    layer_symlink(b, "bin", "usr/bin");
    layer_symlink(b, "loop", "loop");
    layer_symlink(b, "deep/a/up", "../..");
    layer_symlink(b, "deep/a/b/abs", "/usr/bin/../bin");
    layer_symlink(b, "out", "../../../../../../etc");
    layer_symlink(b, "slash", "usr/");
    layer_symlink(b, "tobind", "/data/in");
    box_layer(b);
    layer_dir(b, "usr", 0755);
    layer_dir(b, "opt", 0755);
    layer_mark(b, "opt", VIEW_OPAQUE);
    layer_put(b, "opt/new", "new", 0644);
    layer_symlink(b, "usr/local", "../deep/a/up");
    layer_symlink(b, "chain", "usr/local/chain2");
    layer_symlink(b, "chain2", "bin");
}

static void
bind_folder(struct box *b)
{
    snprintf(bound, sizeof(bound), "%s/bound", b->root);
    host_dir(bound, 0755);
    host_dir(path_in(b, "bound/in"), 0755);
    host_file(path_in(b, "bound/in/f"), "f", 1, 0644);
    must(!symlink("/usr", path_in(b, "bound/toroot")), "symlink");
    must(!symlink("../../..", path_in(b, "bound/in/up")), "symlink");
    must(!symlink("in", path_in(b, "bound/here")), "symlink");
    box_bind(b, bound, "/data", 0);
    box_bind(b, path_in(b, "bound/in"), "/data/in/again", UUFS_BIND_RO);
    box_bind(b, "/proc", "/proc", UUFS_BIND_PROC);
}

static void
start(void)
{
    const struct uufs *fs = &box.fs;

    box_new(&box);
    lower_layers(&box);
    box_ready(&box);
    bind_folder(&box);
    must(!u_mkdir(fs, "/made", 0755) && !u_symlink(fs, "/opt", "/made/toopt"), "made");
    must(!u_write(fs, "/usr/bin/sh", "new") && !u_unlink(fs, "/hidden/f"), "changed");
    must(!u_rmdir(fs, "/hidden") && !u_mkdir(fs, "/hidden", 0700), "opaque");
    must(!u_symlink(fs, "made/../made/./toopt/", "/upperlink"), "link");
}

static bool
below(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return !strncmp(path, folder, n) && (!path[n] || path[n] == '/' || !strcmp(folder, "/"));
}

static bool
is_canonical(const char *path, size_t len)
{
    if (path[0] != '/' || strlen(path) != len || len >= LPMX_PATH_MAX)
        return false;
    if (len == 1)
        return true;
    for (const char *p = path; *p;) {
        const char *end = p + 1 + strcspn(p + 1, "/");
        size_t n = (size_t)(end - p - 1);

        if (!n || n > LPMX_NAME_MAX || (n == 1 && p[1] == '.') ||
            (n == 2 && p[1] == '.' && p[2] == '.'))
            return false;
        p = end;
    }
    return true;
}

/* Host paths are made of a root of the union and a canonical path; a slash at the end may remain.
 */
static void
check_host(const struct uufs_hit *hit)
{
    char layers[128];

    snprintf(layers, sizeof(layers), "%s/layers", box.root);
    must(strlen(hit->host) == hit->host_len, "host length");
    must(!strstr(hit->host, "/../") && !strstr(hit->host, "//"), hit->host);
    if (!hit->in_union)
        must(below(hit->host, bound) || below(hit->host, "/proc"), hit->host);
    else if (hit->where == UUFS_LOWER)
        must(below(hit->host, layers), hit->host);
    else
        must(below(hit->host, box.upper), hit->host);
}

static void
check_hit(const struct uufs_hit *hit, unsigned how)
{
    struct uufs_hit again;

    must(is_canonical(hit->ctr, hit->ctr_len), hit->ctr);
    check_host(hit);
    must(hit->where != UUFS_ABSENT || how & UUFS_MISSING, "absent");
    must(!(how & UUFS_FOLLOW) || hit->type != S_IFLNK || how & UUFS_PLAIN || how & UUFS_LAST,
         "link");
    if (how & UUFS_PLAIN || hit->magic || below(hit->ctr, "/proc"))
        return;
    must(!uufs_walk(&box.fs, "/", hit->ctr, how & ~(unsigned)UUFS_FOLLOW, &again), hit->ctr);
    must(again.where == hit->where && again.node == hit->node && again.bind == hit->bind, hit->ctr);
    must(!strcmp(again.ctr, hit->ctr), hit->ctr);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uufs_hit hit;
    unsigned how;
    const char *base;
    char *path;

    if (!box.root[0])
        start();
    if (size < 3)
        return 0;
    how = data[0] & (UUFS_FOLLOW | UUFS_MISSING | UUFS_LAST | UUFS_PLAIN);
    base = bases[data[1] % ARRAY_LEN(bases)];
    path = strndup((const char *)data + 2, size - 2);
    if (!uufs_walk(&box.fs, base, path, how, &hit))
        check_hit(&hit, how);
    free(path);
    return 0;
}
