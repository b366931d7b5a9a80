/* /proc/PID/exe. The kernel knows only the loader there; what it runs is in the state string of the
 * process, which stays in the memory that /proc/PID/environ shows. */
#include "exe.h"

#include "../../base/libc.h"
#include "../../base/str.h"
#include "../../engine/engine.h"
#include "../../engine/execstate.h"
#include "../../uufs/hostfd.h"

/* "/proc/SELF_OR_PID[/task/TID]/exe": 1 for this process, else 0; *pid_len gets the length up to
 * the last slash. */
static bool
is_exe_link(const char *host, size_t *dir_len)
{
    size_t n = strlen(host);

    if (n < 10 || strncmp(host, "/proc/", 6) || strcmp(host + n - 4, "/exe"))
        return false;
    *dir_len = n - 4;
    return true;
}

static bool
is_own(const char *host, size_t dir_len)
{
    char pid[24];
    const char *name = host + 6;
    size_t len = 0, digits = str_decimal(pid, (uint64_t)sys0(SYS_getpid));

    while (6 + len < dir_len && name[len] != '/')
        len++;
    return (len == 4 && !strncmp(name, "self", 4)) ||
           (len == 11 && !strncmp(name, "thread-self", 11)) ||
           (len == digits && !strncmp(name, pid, len));
}

/* Find "LPMX_EXEC=PLAN\0EXE\0..." in an environment, as engine/execstate.c has left it; part
 * @wanted of it, from 0 on, into @text. 1: not there. */
static int
find_part(long fd, size_t wanted, char *text, size_t cap)
{
    static const char prefix[] = STATE_PREFIX;
    char buf[1024];
    size_t matched = 0, part = 0, out = 0;
    bool at_start = true;
    long n;

    while ((n = sys3(SYS_read, fd, buf, sizeof(buf))) > 0) {
        for (long i = 0; i < n; i++) {
            if (matched == sizeof(prefix) - 1) {
                if (part == wanted) {
                    if (out >= cap)
                        return -ENAMETOOLONG;
                    text[out++] = buf[i];
                    if (!buf[i])
                        return 0;
                }
                part += !buf[i];
                continue;
            }
            matched = (at_start || matched) && buf[i] == prefix[matched] ? matched + 1 : 0;
            at_start = !buf[i];
        }
    }
    return 1;
}

bool
proc_is_own(const char *host)
{
    return is_own(host, strlen(host));
}

int
proc_exe_path(const char *host, char *ctr, size_t cap)
{
    char path[LPMX_PATH_MAX];
    size_t dir_len, len = 0;
    long fd;
    int err;

    if (!is_exe_link(host, &dir_len))
        return 1;
    if (is_own(host, dir_len))
        return str_append(ctr, cap, &len, engine.exe, strlen(engine.exe));
    err = str_append(path, sizeof(path), &len, host, dir_len);
    if (!err)
        err = str_append(path, sizeof(path), &len, "/environ", 8);
    if (err)
        return err;
    fd = hostfd_open(path, O_RDONLY, 0);
    if (fd < 0)
        return 1;
    err = find_part(fd, 1, ctr, cap);
    sys1(SYS_close, fd);
    return !err && ctr[0] != '/' ? 1 : err;
}

int
proc_state_part(uint32_t pid, size_t part, char *text, size_t cap)
{
    char path[40] = "/proc/";
    size_t len = 6 + str_decimal(path + 6, pid);
    int fd, err;

    memcpy(path + len, "/environ", 9);
    fd = hostfd_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    err = find_part(fd, part, text, cap);
    sys1(SYS_close, fd);
    return err;
}
