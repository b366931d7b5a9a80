/* chown and chmod, also those that change nothing: does the time of the last change move, and does
 * a watch tell it? One line a case, which must be the same for real root and for an emulated one.
 * Works in the working directory, which is empty. */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <stdbool.h>
#include <time.h>

static struct timespec
changed(const char *name)
{
    struct stat st;

    must(!lstat(name, &st), name);
    return st.st_ctim;
}

static unsigned
type_of(const char *name)
{
    struct stat st;

    must(!lstat(name, &st), name);
    return st.st_mode;
}

/* Until the file system's clock has moved on. */
static void
wait_for_the_clock(const char *name)
{
    struct timespec last = changed(name), now;

    do {
        close(open("clock", O_CREAT | O_WRONLY, 0644));
        now = changed("clock");
        unlink("clock");
    } while (now.tv_sec == last.tv_sec && now.tv_nsec == last.tv_nsec);
}

static void
tell(const char *what, const char *name, int watch, long result, const struct timespec *before)
{
    struct timespec after = changed(name);
    char events[4096];
    bool moved = before->tv_sec != after.tv_sec || before->tv_nsec != after.tv_nsec, told = false;
    ssize_t n;

    while ((n = read(watch, events, sizeof(events))) > 0)
        for (char *p = events; p < events + n;) {
            struct inotify_event *e = (struct inotify_event *)p;

            told |= e->len && !strcmp(e->name, name) && e->mask & IN_ATTRIB;
            p += sizeof(*e) + e->len;
        }
    printf("%s %s: %s, time %s, watch %s\n", what, name, result ? strerrorname_np(errno) : "done",
           moved ? "moves" : "stays", told ? "tells" : "is silent");
}

int
main(void)
{
    static const char *const names[] = {"file", "link", "folder", "fifo", "socket"};
    static const int owners[][2] = {{-1, -1}, {0, 0}, {1, 1}, {1, 1}, {0, -1}, {0, 0}};
    static const unsigned modes[] = {0600, 0644, 04755, 02755, 0, 01777};
    int watch = inotify_init1(IN_NONBLOCK);
    struct timespec before;
    char what[60];

    umask(0);
    close(open("file", O_CREAT | O_WRONLY, 0644));
    must(!symlink("file", "link") && !mkdir("folder", 0755) && !mkfifo("fifo", 0600) &&
             !binds("socket") && inotify_add_watch(watch, ".", IN_ATTRIB) >= 0,
         "make");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *name = names[i];

        for (size_t k = 0; k < sizeof(owners) / sizeof(owners[0]); k++) {
            wait_for_the_clock(name);
            before = changed(name);
            snprintf(what, sizeof(what), "chown %d:%d", owners[k][0], owners[k][1]);
            tell(what, name, watch, lchown(name, (uid_t)owners[k][0], (gid_t)owners[k][1]),
                 &before);
        }
        for (size_t k = 0; k < sizeof(modes) / sizeof(modes[0]) && !S_ISLNK(type_of(name)); k++) {
            unsigned mode = modes[k];

            wait_for_the_clock(name);
            before = changed(name);
            snprintf(what, sizeof(what), "chmod %o", mode);
            tell(what, name, watch, chmod(name, mode), &before);
            wait_for_the_clock(name);
            before = changed(name);
            tell(what, name, watch, chmod(name, mode), &before);
        }
    }
    return 0;
}
