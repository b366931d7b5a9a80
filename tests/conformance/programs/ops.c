/* The script's reader and the processes that carry it out.
 *
 * usage: ops serve                                   on the tree as it is
 *        ops overlay LOWER[:LOWER...] UPPER WORK MERGED    the kernel's union of them is the root
 *        ops plain ROOT                              absolute paths begin at ROOT
 *
 * The script comes on standard input: lines "WORKER OPERATION ARGUMENT...", bytes other than
 * letters, digits and ._/- written as %XX. Answers go to standard output, one line each. Worker 0
 * is there from the start, others are forked by "fork N"; only one works at a time, so the order of
 * everything is the script's. */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE 20 /* seconds a script */

char plain_root[4096];
static int self;

static void
die(const char *what)
{
    fprintf(stderr, "ops: %s: %s\n", what, strerror(errno));
    _exit(3);
}

/* ---- text ---- */

void
reply_add(struct reply *r, const char *format, ...)
{
    va_list args;
    int n;

    if (r->cap - r->used < MAX_TEXT) {
        r->cap = r->cap * 2 + 2 * MAX_TEXT;
        r->text = realloc(r->text, r->cap);
        if (!r->text)
            die("realloc");
    }
    va_start(args, format);
    n = vsnprintf(r->text + r->used, r->cap - r->used, format, args);
    va_end(args);
    r->used += (size_t)n;
}

static bool
is_plain(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("._/-", c));
}

void
reply_escaped(struct reply *r, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i < n; i++)
        reply_add(r, is_plain(p[i]) ? "%c" : "%%%02x", p[i]);
}

void
reply_hash(struct reply *r, const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    reply_add(r, " %zu:%016llx", n, (unsigned long long)hash);
}

bool
reply_result(struct reply *r, long result)
{
    if (result >= 0)
        reply_add(r, "%ld", result);
    else
        reply_add(r, "E%d", errno);
    return result >= 0;
}

static int
hex_digit(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* Turn %XX into bytes, in place. */
static void
unescape(char *text)
{
    char *out = text;

    for (const char *p = text; *p; p++) {
        if (*p == '%' && p[1] && p[2]) {
            *out++ = (char)(hex_digit(p[1]) << 4 | hex_digit(p[2]));
            p += 2;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
}

static void
split(char *text, struct line *l)
{
    l->n = 0;
    for (char *p = strtok(text, " "); p && l->n < MAX_WORDS; p = strtok(NULL, " "))
        l->word[l->n++] = p;
    for (unsigned i = 0; i < l->n; i++)
        unescape(l->word[i]);
}

long
arg_number(const struct line *l, unsigned i)
{
    return i < l->n ? strtol(l->word[i], NULL, 0) : 0;
}

int
arg_slot(const struct line *l, unsigned i)
{
    long slot = arg_number(l, i);

    return slot < 0 ? AT_FDCWD : FIRST_SLOT + (int)slot;
}

static bool
is_rooted(const char *path)
{
    return path[0] == '/' && strncmp(path, "/proc/", 6) != 0;
}

const char *
arg_path(const struct line *l, unsigned i)
{
    static char ring[4][2 * MAX_TEXT];
    static unsigned next;
    const char *path = i < l->n ? l->word[i] : "";

    if (!strcmp(path, "%")) /* "%" alone: the empty path, which a line cannot hold */
        return "";
    if (!plain_root[0] || !is_rooted(path))
        return path;
    snprintf(ring[next % 4], sizeof(ring[0]), "%s%s", plain_root, path);
    return ring[next++ % 4];
}

const char *
shown_path(const char *path)
{
    size_t n = strlen(plain_root);

    if (n && !strncmp(path, plain_root, n))
        return path[n] ? path + n : "/";
    return path;
}

/* ---- workers ---- */

static int
command_end(int worker)
{
    return FIRST_PIPE + 4 * worker;
}

static void
write_all(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t w = write(fd, text, n);

        if (w < 0)
            die("write");
        text += w;
        n -= (size_t)w;
    }
}

/* Read up to and with a newline, which becomes a NUL. False at the end. */
static bool
read_line(int fd, struct reply *r)
{
    r->used = 0;
    do {
        ssize_t n;

        reply_add(r, "%s", "");
        n = read(fd, r->text + r->used, r->cap - r->used);
        if (n < 0)
            die("read");
        if (!n)
            return false;
        r->used += (size_t)n;
    } while (r->text[r->used - 1] != '\n');
    r->text[r->used - 1] = '\0';
    return true;
}

static void op_fork(const struct line *l, struct reply *r);
static void op_exec(struct reply *r);

static void
run_line(const struct line *l, struct reply *r)
{
    if (!l->n)
        reply_add(r, "?empty");
    else if (!strcmp(l->word[0], "fork"))
        op_fork(l, r);
    else if (!strcmp(l->word[0], "exec"))
        op_exec(r);
    else if (!op_run(l, r))
        reply_add(r, "?unknown");
}

__attribute__((noreturn)) static void
work(void)
{
    static struct reply command, answer;
    struct line l;

    while (read_line(command_end(self), &command)) {
        split(command.text, &l);
        answer.used = 0;
        run_line(&l, &answer);
        reply_add(&answer, "\n");
        write_all(command_end(self) + 1, answer.text, answer.used);
    }
    _exit(0);
}

static void
op_fork(const struct line *l, struct reply *r)
{
    pid_t child = fork();

    if (child < 0) {
        reply_result(r, -1);
        return;
    }
    if (child) {
        reply_add(r, "0");
        return;
    }
    self = (int)arg_number(l, 1) % MAX_WORKERS;
    work();
}

/* Become a new program in the same place: descriptors, working directory and masks stay. */
static void
op_exec(struct reply *r)
{
    char number[8];

    snprintf(number, sizeof(number), "%d", self);
    execl("/proc/self/exe", "ops", "worker", number, plain_root, NULL);
    reply_result(r, -1);
}

/* ---- the tree ---- */

static void
enter_overlay(char **argv)
{
    static char options[MAX_TEXT], proc[4096];

    snprintf(options, sizeof(options),
             "lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off,index=off,metacopy=off,xino=off",
             argv[0], argv[1], argv[2]);
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
        die("unshare");
    if (mount("overlay", argv[3], "overlay", 0, options))
        die("mount overlay");
    snprintf(proc, sizeof(proc), "%s/proc", argv[3]);
    if (mount("/proc", proc, NULL, MS_BIND | MS_REC, NULL))
        die("mount proc");
    /* Not by chroot: a process that changes its root once more would get out by "..". */
    if (chdir(argv[3]) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) ||
        chdir("/"))
        die("pivot_root");
}

static void
enter_plain(const char *root)
{
    snprintf(plain_root, sizeof(plain_root), "%s", root);
    if (chdir(root))
        die(root);
}

static void
make_pipes(void)
{
    for (int i = 0; i < MAX_WORKERS; i++) {
        int command[2], answer[2], at = command_end(i);

        if (pipe(command) || pipe(answer) || dup2(command[0], at) < 0 ||
            dup2(answer[1], at + 1) < 0 || dup2(command[1], at + 2) < 0 ||
            dup2(answer[0], at + 3) < 0)
            die("pipe");
        close(command[0]);
        close(command[1]);
        close(answer[0]);
        close(answer[1]);
    }
}

static void
start_first_worker(void)
{
    pid_t child = fork();

    if (child < 0)
        die("fork");
    for (int i = 0; i < MAX_WORKERS; i++) {
        int at = command_end(i);

        close(child ? at : at + 2);
        close(child ? at + 1 : at + 3);
    }
    if (!child) {
        int null = open("/proc/self/root/dev/null", O_RDWR);

        /* slots start at a fixed number; what was inherited must not leak into the script */
        dup2(null < 0 ? 2 : null, 0);
        dup2(2, 1);
        work();
    }
}

/* Is the line one that brings a worker into being? Which? */
static int
forked(const char *line)
{
    return strncmp(line, "fork ", 5) ? -1 : atoi(line + 5) % MAX_WORKERS;
}

/* Hand each line to its worker and print what it answers. */
static void
serve(void)
{
    static struct reply answer;
    static bool alive[MAX_WORKERS] = {true};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    make_pipes();
    start_first_worker();
    while ((n = getline(&line, &cap, stdin)) > 0) {
        char *rest;
        int worker = (int)strtol(line, &rest, 10) % MAX_WORKERS, at = command_end(worker);

        rest += *rest == ' ';
        if (!alive[worker] || (forked(rest) >= 0 && alive[forked(rest)])) {
            puts("?nobody");
            continue;
        }
        write_all(at + 2, rest, strlen(rest));
        if (!read_line(at + 3, &answer))
            die("a worker is gone");
        if (forked(rest) >= 0)
            alive[forked(rest)] = answer.text[0] == '0';
        puts(answer.text);
    }
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    umask(022);
    if (argc == 4 && !strcmp(argv[1], "worker")) {
        self = atoi(argv[2]);
        snprintf(plain_root, sizeof(plain_root), "%s", argv[3]);
        slot_paths_reload();
        write_all(command_end(self) + 1, "0\n", 2);
        work();
    }
    alarm(DEADLINE);
    if (argc == 6 && !strcmp(argv[1], "overlay"))
        enter_overlay(argv + 2);
    else if (argc == 3 && !strcmp(argv[1], "plain"))
        enter_plain(argv[2]);
    else if (argc != 2 || strcmp(argv[1], "serve"))
        return 2;
    serve();
    return 0;
}
