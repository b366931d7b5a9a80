/* Binding a unix socket by a path relative to a directory of our choice. The kernel keeps the very
 * text that bind(2) was given and tells it to whoever asks for the name of the socket or of its
 * peer: so a relative name is told right everywhere, by the kernel itself, and one that is too long
 * as a path of the host can still be given.
 *
 * The program's working directory must not move, not for a moment, since its threads share it: a
 * child with a directory of its own, the same memory and the same descriptors, does it and is gone.
 */
#include "sockbind.h"

#include "../../base/str.h"
#include "../../engine/engine.h"
#include "../../uufs/escape.h"

#include <linux/sched.h>

#define STACK_SIZE 2048
#define WAIT_ALL   0x40000000 /* __WALL */

struct errand {
    const char *dir;
    const struct sockaddr_un *un;
    unsigned len;
    int fd;
    long result;
};

long sockbind_clone(unsigned long flags, void *stack, void (*run)(struct errand *),
                    struct errand *errand);

__asm__(".text\n"
        ".globl sockbind_clone\n"
        ".hidden sockbind_clone\n"
        "sockbind_clone:\n"
        "    mov %rdx, -16(%rsi)\n"
        "    mov %rcx, -8(%rsi)\n"
        "    sub $16, %rsi\n"
        "    xor %edx, %edx\n"
        "    xor %r10d, %r10d\n"
        "    xor %r8d, %r8d\n"
        "    mov $56, %eax\n" /* clone */
        "    syscall\n"
        "    test %rax, %rax\n"
        "    jnz 1f\n"
        "    xor %ebp, %ebp\n"
        "    pop %rax\n"
        "    pop %rdi\n"
        "    call *%rax\n"
        "    xor %edi, %edi\n"
        "    mov $60, %eax\n" /* exit */
        "    syscall\n"
        "1:  ret\n");

static void
run_errand(struct errand *e)
{
    e->result = sys1(SYS_chdir, e->dir);
    if (!e->result)
        e->result = sys3(SYS_bind, e->fd, e->un, e->len) ?: 1;
}

/* 1: no child could be had, or it could not enter @dir. */
static int
bind_from(const char *dir, int fd, const char *path)
{
    char stack[STACK_SIZE] __attribute__((aligned(16)));
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    struct errand e = {dir, &un, 0, fd, -ECHILD};
    long pid;

    if (len > sizeof(un.sun_path))
        return 1;
    memcpy(un.sun_path, path, len);
    e.len = (unsigned)(PATH_OFFSET + len + (len < sizeof(un.sun_path)));
    pid =
        sockbind_clone(CLONE_VM | CLONE_VFORK | CLONE_FILES, stack + sizeof(stack), run_errand, &e);
    if (pid < 0)
        return 1;
    sys4(SYS_wait4, pid, NULL, WAIT_ALL, NULL);
    return e.result == 1 ? 0 : e.result == -EADDRINUSE || e.result == -EINVAL ? (int)e.result : 1;
}

/* @given without the "." components and doubled slashes that change nothing, into @plain of @cap
 * bytes; false where it goes up. */
static bool
make_plain(const char *given, char *plain, size_t cap)
{
    size_t len = 0;

    while (*given) {
        const char *end = given;

        while (*end && *end != '/')
            end++;
        if (end - given == 2 && given[0] == '.' && given[1] == '.')
            return false;
        if (end > given && !(end - given == 1 && given[0] == '.') &&
            (str_append(plain, cap, &len, "/", 1) ||
             str_append(plain, cap, &len, given, (size_t)(end - given))))
            return false;
        given = *end ? end + 1 : end;
    }
    return len > 0;
}

int
sockbind_bind(int fd, const struct uufs_hit *hit, const char *given)
{
    char text[LPMX_PATH_MAX];
    size_t len = 0, host_len = hit->host_len;

    if (hit->bind == UUFS_NO_NAME || SOCKBIND_IS_ROOTED(given))
        return 1;
    if (given[0] != '/') {
        if (!make_plain(given, text, sizeof(text)))
            return 1;
        len = strlen(text);
        if (len >= host_len || memcmp(hit->host + host_len - len, text, len + 1))
            return 1; /* a symlink is on its way */
        memcpy(text, hit->host, host_len - len);
        text[host_len - len] = '\0';
        return bind_from(text, fd, given);
    }
    if (!hit->in_union || host_len < sizeof(((struct sockaddr_un *)0)->sun_path) ||
        escape_needs_any(hit->ctr, hit->ctr_len) ||
        str_append(text, sizeof(text), &len, SOCKBIND_ROOTED, SOCKBIND_ROOTED_LEN) ||
        str_append(text, sizeof(text), &len, hit->ctr, hit->ctr_len))
        return 1;
    return bind_from(engine.fs.upper, fd, text);
}
