/* What the tests of the union's rules share: the box they are tried in, and the runs.
 *
 * Each list of tests runs several times: as it is, as an ordinary user, and on file systems that
 * lack renameat2's flags, hard links, reflinks, holes and locks (a seccomp filter says no in their
 * place). */
#ifndef LPMX_TESTS_RULES_TOOLS_H
#define LPMX_TESTS_RULES_TOOLS_H

#include "check.h"
#include "union_tools.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#define CHECK_TEXT(got, want) check_text(__FILE__, __LINE__, __func__, got, want)

static bool no_exchange; /* the file system of this run has no RENAME_EXCHANGE */

static inline void
check_text(const char *file, int line, const char *func, const char *got, const char *want)
{
    if (!strcmp(got, want)) {
        check_passed++;
        return;
    }
    check_failed++;
    fprintf(stderr, "%s:%d: %s: \"%s\", not \"%s\"\n", file, line, func, got, want);
}

/* Two layers: a base and one that replaces, hides and adds. */
static inline void
box_start(struct box *b)
{
    box_new(b);
    box_layer(b);
    layer_dir(b, "usr", 0755);
    layer_dir(b, "usr/bin", 0755);
    layer_symlink(b, "bin", "usr/bin");
    layer_put(b, "usr/bin/sh", "base sh", 0755);
    layer_dir(b, "etc", 0755);
    layer_put(b, "etc/conf", "old conf", 0640);
    layer_put(b, "etc/gone", "gone", 0644);
    layer_dir(b, "data", 0755);
    layer_dir(b, "data/deep", 0751);
    layer_put(b, "data/deep/file", "deep", 0600);
    layer_put(b, "data/one", "1", 0644);
    layer_put(b, "data/two", "2", 0644);
    layer_symlink(b, "data/link", "../etc/conf");
    must(!link(layer_file(b, "data/one"), layer_file(b, "data/one-more")), "link");
    layer_dir(b, "opaque", 0755);
    layer_put(b, "opaque/below", "below", 0644);
    layer_dir(b, "empty", 0755);
    layer_dir(b, "lonely", 0755);
    layer_put(b, "lonely/child", "child", 0644);
    box_layer(b);
    layer_dir(b, "usr", 0755);
    layer_dir(b, "usr/bin", 0755);
    layer_put(b, "usr/bin/x", "x of two", 0755);
    layer_dir(b, "etc", 0755);
    layer_put(b, "etc/conf", "new conf", 0640);
    layer_mark(b, "etc/gone", VIEW_WHITEOUT);
    layer_dir(b, "opaque", 0755);
    layer_put(b, "opaque/above", "above", 0644);
    layer_mark(b, "opaque", VIEW_OPAQUE);
    for (unsigned i = 0; i < b->n_layers; i++) { /* an old mtime, to see it kept */
        const struct timespec old[2] = {{1000000000, 5}, {1000000000, 123456789}};

        must(!utimensat(AT_FDCWD, path_in(b, "layers/%u/fs/etc", i), old, 0), "utimensat");
    }
    const struct timespec old[2] = {{1000000000, 5}, {1000000000, 123456789}};

    must(!utimensat(AT_FDCWD, path_in(b, "layers/0/fs/data/deep"), old, 0), "utimensat");
    must(!utimensat(AT_FDCWD, path_in(b, "layers/0/fs/data/deep/file"), old, 0), "utimensat");
    box_ready(b);
}

static inline unsigned
work_garbage(const struct box *b)
{
    DIR *dir = opendir(b->work);
    struct dirent *d;
    unsigned n = 0;

    while ((d = readdir(dir)))
        n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..") && strcmp(d->d_name, "lock") &&
             strcmp(d->d_name, "mark");
    closedir(dir);
    return n;
}

static inline void
box_end(struct box *b)
{
    CHECK_EQ(work_garbage(b), 0);
    box_free(b);
}

/* ---- the runs ---- */

/* From now on the call @nr answers @err where its argument @arg is at least @least. */
static inline void
deny(uint32_t nr, unsigned arg, uint32_t least, uint32_t err)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * arg),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, least, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(filter), filter};

    must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    must(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
}

/* As on NFS: rename takes no flags. */
static inline void
deny_flags(void)
{
    deny(SYS_renameat2, 4, 1, EINVAL);
    no_exchange = true;
}

/* A file system, or an old kernel, with nothing but the basics. */
static inline void
deny_all(void)
{
    deny_flags();
    deny(SYS_renameat2, 0, 0, ENOSYS);
    deny(SYS_copy_file_range, 0, 0, EXDEV);
    deny(SYS_flock, 0, 0, ENOLCK);
    deny(SYS_ioctl, 0, 0, EOPNOTSUPP);
    deny(SYS_lseek, 2, SEEK_DATA, EINVAL);
}

enum run { RUN_PLAIN, RUN_USER, RUN_NFS, RUN_POOR };

/* A run of its own process; its counts come back through a shared page. */
static inline void
run_in_child(void (*run_all)(void), enum run run, const char *name)
{
    unsigned long *counts =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;
    pid_t pid = fork();

    if (!pid) {
        if (run == RUN_USER)
            must(!setgid(65534) && !setuid(65534), "setuid");
        if (run == RUN_NFS)
            deny_flags();
        if (run == RUN_POOR)
            deny_all();
        run_all();
        counts[0] = check_passed;
        counts[1] = check_failed;
        fflush(stderr);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    check_passed += counts[0];
    check_failed += counts[1] + (status != 0);
    if (counts[1] || status)
        fprintf(stderr, "(the above in the run: %s)\n", name);
    munmap(counts, 4096);
}

static inline int
run_everywhere(void (*run_all)(void), const char *name)
{
    run_in_child(run_all, RUN_PLAIN, "plain");
    if (!geteuid())
        run_in_child(run_all, RUN_USER, "ordinary user");
    run_in_child(run_all, RUN_NFS, "no rename flags");
    run_in_child(run_all, RUN_POOR, "no rename flags, locks, holes, kernel copies");
    return check_done(name);
}

#endif
