/* Directories and whole trees as text: listings with seeks, one line of metadata, everything below
 * a folder. */
#include "ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_ENTRIES 8192
#define MAX_DEPTH   64
#define NOW         1700000000 /* what is later was changed by the script */

struct record { /* as getdents64 has it */
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

struct entry {
    char *name;
    uint64_t ino;
    int64_t next;
    uint8_t type;
};

struct names {
    size_t n;
    struct entry entry[MAX_ENTRIES];
};

/* ---- metadata ---- */

static char
type_letter(mode_t mode)
{
    static const char letters[] = "?pc?d?b?-?l?s???";

    return letters[(mode & S_IFMT) >> 12];
}

static void
reply_time(struct reply *r, const struct timespec *t)
{
    if (t->tv_sec >= NOW)
        reply_add(r, " now");
    else
        reply_add(r, " %lld.%09ld", (long long)t->tv_sec, t->tv_nsec);
}

/* A target's length without what a plain root adds to it. */
static long
link_size(int dirfd, const char *path, const struct stat *st)
{
    char target[MAX_TEXT];
    long n = readlinkat(dirfd, path, target, sizeof(target) - 1);

    if (n < 0 || !plain_root[0])
        return (long)st->st_size;
    target[n] = '\0';
    return (long)strlen(shown_path(target));
}

void
reply_stat(struct reply *r, int dirfd, const char *path, int flags)
{
    struct stat st;

    if (!reply_result(r, FSTATAT(dirfd, path, &st, flags)))
        return;
    reply_add(r, " %c%04o %u:%u", type_letter(st.st_mode), st.st_mode & 07777, st.st_uid,
              st.st_gid);
    if (!S_ISDIR(st.st_mode)) /* directories count and measure as their file system likes */
        reply_add(r, " n%lu s%ld", (unsigned long)st.st_nlink,
                  S_ISLNK(st.st_mode) ? link_size(dirfd, path, &st) : (long)st.st_size);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        reply_add(r, " %u,%u", major(st.st_rdev), minor(st.st_rdev));
    if (!S_ISFIFO(st.st_mode)) /* the kernel's union does not say when one was written to */
        reply_time(r, &st.st_mtim);
}

static int
compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
reply_xattrs(struct reply *r, const char *path)
{
    static char list[MAX_TEXT], value[MAX_TEXT];
    char *name[256];
    size_t n = 0;
    long size = llistxattr(path, list, sizeof(list));

    for (long at = 0; at < size && n < 256; at += (long)strlen(list + at) + 1)
        if (!strncmp(list + at, "user.", 5))
            name[n++] = list + at;
    qsort(name, n, sizeof(*name), compare_text);
    for (size_t i = 0; i < n; i++) {
        long got = lgetxattr(path, name[i], value, sizeof(value));

        reply_add(r, " x:");
        reply_escaped(r, name[i], strlen(name[i]));
        reply_add(r, "=");
        reply_escaped(r, value, got < 0 ? 0 : (size_t)got);
    }
}

/* ---- listings ---- */

static void
names_free(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->entry[i].name);
    names->n = 0;
}

/* All records from where @fd stands, through a buffer of @size bytes. 0 or -1. */
static int
names_read(struct names *names, int fd, size_t size)
{
    static uint64_t buf[MAX_TEXT / 8];
    long n;

    names->n = 0;
    while ((n = DO(getdents64, fd, buf, size)) > 0) {
        for (long at = 0; at < n;) {
            const struct record *e = (const struct record *)((const char *)buf + at);

            if (names->n == MAX_ENTRIES)
                abort();
            names->entry[names->n++] = (struct entry){strdup(e->name), e->ino, e->off, e->type};
            at += e->reclen;
        }
    }
    return (int)n;
}

static int
compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void
reply_names(struct reply *r, const struct names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        reply_add(r, " ");
        reply_escaped(r, names->entry[i].name, strlen(names->entry[i].name));
        reply_add(r, ":%c", type_letter((mode_t)names->entry[i].type << 12));
    }
}

/* The names from each of some positions on must be those the first pass saw behind it. */
static const char *
check_seeks(int fd, const struct names *all, size_t size)
{
    static struct names rest;
    const char *verdict = "seek-ok";

    for (size_t i = 0; i < all->n; i += 1 + all->n / 4) {
        bool same;

        if (lseek(fd, all->entry[i].next, SEEK_SET) < 0 || names_read(&rest, fd, size))
            return "seek-error";
        same = rest.n == all->n - i - 1;
        for (size_t k = 0; same && k < rest.n; k++)
            same = !strcmp(rest.entry[k].name, all->entry[i + 1 + k].name);
        names_free(&rest);
        if (!same)
            verdict = "seek-differs";
    }
    return verdict;
}

/* scan SLOT SIZE: everything from the beginning, then again from positions in between */
void
op_scan(const struct line *l, struct reply *r)
{
    static struct names all;
    int fd = arg_slot(l, 1);
    size_t size = (size_t)arg_number(l, 2);

    if (!reply_result(r, lseek(fd, 0, SEEK_SET)))
        return;
    if (names_read(&all, fd, size)) {
        reply_add(r, " ");
        reply_result(r, -1);
    } else {
        reply_add(r, " %s", check_seeks(fd, &all, size));
        qsort(all.entry, all.n, sizeof(*all.entry), compare_entries);
        reply_names(r, &all);
    }
    names_free(&all);
}

/* list DIRSLOT PATH SIZE */
void
op_list(const struct line *l, struct reply *r)
{
    static struct names all;
    int fd = openat(arg_slot(l, 1), arg_path(l, 2), O_RDONLY | O_DIRECTORY | O_NONBLOCK);

    if (!reply_result(r, fd < 0 ? -1 : 0))
        return;
    if (names_read(&all, fd, (size_t)arg_number(l, 3))) {
        reply_add(r, " ");
        reply_result(r, -1);
    } else {
        qsort(all.entry, all.n, sizeof(*all.entry), compare_entries);
        reply_names(r, &all);
    }
    names_free(&all);
    close(fd);
}

/* ---- trees ---- */

static void
dump_content(struct reply *r, const char *path)
{
    static char data[1 << 20];
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, data, sizeof(data));

    if (n < 0)
        reply_add(r, " E%d", errno);
    else
        reply_hash(r, data, (size_t)n);
    if (fd >= 0)
        close(fd);
}

static void
dump_link(struct reply *r, const char *path)
{
    char target[MAX_TEXT];
    ssize_t n = readlink(path, target, sizeof(target) - 1);

    if (n < 0) {
        reply_add(r, " E%d", errno);
        return;
    }
    target[n] = '\0';
    reply_add(r, " -> ");
    reply_escaped(r, shown_path(target), strlen(shown_path(target)));
}

static void dump_folder(struct reply *r, const char *shown, unsigned depth);

/* The entry @e of the working directory. */
static void
dump_entry(struct reply *r, const char *shown, const struct entry *e, unsigned depth)
{
    struct stat st = {0};
    int failed = lstat(e->name, &st);

    reply_add(r, ";");
    reply_escaped(r, shown, strlen(shown));
    reply_add(r, " ");
    reply_stat(r, AT_FDCWD, e->name, AT_SYMLINK_NOFOLLOW);
    if (failed)
        return;
    if (e->type != (st.st_mode & S_IFMT) >> 12)
        reply_add(r, " !type");
    if (S_ISREG(st.st_mode))
        dump_content(r, e->name);
    else if (S_ISLNK(st.st_mode))
        dump_link(r, e->name);
    reply_xattrs(r, e->name);
    if (!S_ISDIR(st.st_mode) || depth == MAX_DEPTH)
        return;
    if (chdir(e->name)) {
        reply_add(r, " E%d", errno);
        return;
    }
    dump_folder(r, shown, depth + 1);
    if (chdir(".."))
        abort();
}

static void
dump_folder(struct reply *r, const char *shown, unsigned depth)
{
    struct names *all = calloc(1, sizeof(*all));
    int fd = open(".", O_RDONLY | O_DIRECTORY);

    if (fd < 0 || !all || names_read(all, fd, MAX_TEXT))
        reply_add(r, " E%d", errno);
    if (fd >= 0)
        close(fd);
    if (!all)
        return;
    qsort(all->entry, all->n, sizeof(*all->entry), compare_entries);
    for (size_t i = 0; i < all->n; i++) {
        const char *name = all->entry[i].name;
        char *path = NULL;

        if (!strcmp(name, ".") || !strcmp(name, ".."))
            continue;
        if (asprintf(&path, "%s/%s", shown, name) < 0)
            abort();
        dump_entry(r, path, &all->entry[i], depth);
        free(path);
    }
    names_free(all);
    free(all);
}

/* dump PATH: the working directory is elsewhere afterwards */
void
op_dump(const struct line *l, struct reply *r)
{
    if (!reply_result(r, chdir(arg_path(l, 1))))
        return;
    dump_folder(r, "", 0);
}
