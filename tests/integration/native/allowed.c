/* What a root, and whom it becomes, may do: credentials, names, modes, attributes of devices. */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define NOBODY  65534
#define VERSION _LINUX_CAPABILITY_VERSION_3

static void
say(const char *what, long r)
{
    printf("%s: %s\n", what, r < 0 ? strerrorname_np(errno) : "ok");
}

static void
child(void (*act)(void))
{
    fflush(stdout);
    if (!fork()) {
        act();
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

static long
capabilities(int call, int pid, void *data)
{
    struct __user_cap_header_struct h = {VERSION, pid};

    return syscall(call, &h, data);
}

static void
capability_calls(void)
{
    struct __user_cap_data_struct d[2];

    say("capget of -1", capabilities(SYS_capget, -1, d));
    say("capget of -1 without data", capabilities(SYS_capget, -1, NULL));
    say("capget of no process", capabilities(SYS_capget, 4194303, d));
    say("capget of the parent", capabilities(SYS_capget, getppid(), d));
    say("capget of itself", capabilities(SYS_capget, getpid(), d));
    say("capget", capabilities(SYS_capget, 0, d));
    say("capset of the parent", capabilities(SYS_capset, getppid(), d));
    say("capset of -1", capabilities(SYS_capset, -1, d));
    say("capset of itself", capabilities(SYS_capset, getpid(), d));
    d[0].inheritable = d[0].permitted;
    say("capset to inherit", capabilities(SYS_capset, 0, d));
}

static void
ambient(void)
{
    for (int bits = 0; bits <= 64; bits += 64) {
        say("securebits", prctl(PR_SET_SECUREBITS, bits, 0, 0, 0));
        say("clear all", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
        say("clear one", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0));
        say("clear with more", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 1));
        say("raise", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0));
        say("raise with more", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 1, 0));
        say("lower", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, 0, 0, 0));
    }
    say("lock keepcaps", prctl(PR_SET_SECUREBITS, 32, 0, 0, 0));
    say("keepcaps", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    say("keepcaps as securebit", prctl(PR_SET_SECUREBITS, 32 | 16, 0, 0, 0));
    say("unlock", prctl(PR_SET_SECUREBITS, 0, 0, 0, 0));
    say("lock more", prctl(PR_SET_SECUREBITS, 32 | 4, 0, 0, 0));
}

static void
credentials(void)
{
    capability_calls();
    ambient();
    say("setgroups of a bad pointer", syscall(SYS_setgroups, 5, 8L));
    say("setgroups of many at one", syscall(SYS_setgroups, 65536, 8L));
    say("setgroups of too many", syscall(SYS_setgroups, 65537, 8L));
}

static void
files_of_another(void)
{
    must(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY), "setuid");
    say("O_NOATIME", open("readable", O_RDONLY | O_NOATIME));
    say("O_NOATIME, may not read", open("closed", O_RDONLY | O_NOATIME));
    say("O_NOATIME, its own", open("own", O_RDONLY | O_NOATIME));
    say("O_NOATIME, its new", open("open/new", O_CREAT | O_RDWR | O_NOATIME, 0600));
    say("link a closed file", link("closed", "open/1"));
    say("link a readable one", link("readable", "open/2"));
    say("link a writable one", link("writable", "open/3"));
    say("link a setuid one", link("setuid", "open/4"));
    say("link a setgid one", link("setgid", "open/5"));
    say("link a FIFO", link("fifo", "open/6"));
    say("link its own", link("own", "open/7"));
    say("link into a closed directory", link("own", "8"));
    say("link a closed file into one", link("closed", "9"));
    say("link where something is", link("closed", "open/7"));
}

static void
roots(void)
{
    must(!seteuid(NOBODY), "seteuid");
    say("chroot, may not search", chroot("searched"));
    say("chroot, may search", chroot("open"));
    say("chroot to a file", chroot("own"));
}

static void
mode(const char *name)
{
    struct stat st;

    must(!stat(name, &st), name);
    printf("%s: %o %u\n", name, st.st_mode, st.st_gid);
}

static void
modes(void)
{
    must(!mkdir("group", 0755) && !chown("group", NOBODY, 11) && !chmod("group", 02777), "group");
    say("FIFO", mknod("group/fifo", S_IFIFO | S_ISGID | 0777, 0));
    mode("group/fifo");
    say("FIFO", mknod("plain", S_IFIFO | 06755, 0));
    mode("plain");
    say("device", mknod("device", S_IFCHR | 0666, makedev(1, 3)));
    mode("device");
    say("device", mknod("group/device", S_IFCHR | S_ISGID | 0666, makedev(1, 3)));
    mode("group/device");
}

static void
attributes(void)
{
    static const char *const names[] = {"device", "plain"};
    char value[9];

    for (int i = 0; i < 2; i++) {
        say("set", setxattr(names[i], "user.a", "x", 1, 0));
        say("get", getxattr(names[i], "user.a", value, sizeof(value)));
        say("remove", removexattr(names[i], "user.a"));
    }
}

static void
make(const char *name, unsigned bits)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0600);

    must(fd >= 0 && !close(fd) && !chmod(name, bits), name);
}

int
main(void)
{
    umask(0);
    make("readable", 0644);
    make("writable", 0666);
    make("closed", 0600);
    make("setuid", 04777);
    make("setgid", 02777);
    make("own", 0600);
    must(!chown("own", NOBODY, NOBODY) && !mkfifo("fifo", 0666), "own");
    must(!mkdir("open", 0777) && !mkdir("searched", 0222), "mkdir");
    child(credentials);
    child(files_of_another);
    child(roots);
    modes();
    attributes();
    return 0;
}
