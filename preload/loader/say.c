/* Messages of a start. Inside a program the engine is silent. */
#include "say.h"

#include "../base/libc.h"

void
say(const char *s)
{
    sys3(SYS_write, 2, s, strlen(s));
}

/* How many bytes at @s are a character that a terminal obeys: a control of ASCII or of C1, or one
 * that turns the direction of text. */
COLD static int
obeyed(const unsigned char *s)
{
    if (s[0] < 0x20 || s[0] == 0x7f)
        return 1;
    if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0)
        return 2;
    if (s[0] == 0xe2 && s[1] == 0x80 && ((s[2] >= 0xa8 && s[2] <= 0xae) || (s[2] & ~1) == 0x8e))
        return 3;
    return s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9 ? 3 : 0;
}

COLD static char
hex(int digit)
{
    return digit < 10 ? '0' + digit : 'a' + digit - 10;
}

/* Print @s, which may be anybody's; what a terminal obeys as \xNN, much as text.py does. */
COLD static void
say_shown(const char *s)
{
    const char *from = s;

    while (*s) {
        int n = obeyed((const unsigned char *)s);

        if (n == 0) {
            s++;
            continue;
        }
        sys3(SYS_write, 2, from, s - from);
        for (; n > 0; n--, s++) {
            unsigned char c = *s;
            char escape[] = {'\\', 'x', hex(c >> 4), hex(c & 15), 0};

            say(escape);
        }
        from = s;
    }
    say(from);
}

COLD void
engine_say(const char *a, const char *b, const char *c)
{
    say("lpmx: ");
    say_shown(a);
    say_shown(b);
    say_shown(c);
    say("\n");
}

COLD _Noreturn void
quit(int status)
{
    for (;;)
        sys1(SYS_exit_group, status);
}

COLD const char *
error_text(int err)
{
    switch (-err) {
    case ENOENT:
        return ": no such file or directory";
    case EACCES:
    case EPERM:
        return ": permission denied";
    case ENOTDIR:
        return ": not a directory";
    case EBADMSG:
        return ": damaged, or made by another version of lpmx (make it again)";
    case ENOEXEC:
    case ELIBBAD:
        return ": not a program for this machine";
    case ELOOP:
        return ": too many levels of symbolic links";
    case ENOMEM:
        return ": out of memory";
    case EROFS:
        return ": read-only file system";
    case E2BIG:
        return ": too many entries";
    case ENOSPC:
        return ": no space left on device";
    default:
        return ": input/output error";
    }
}

COLD _Noreturn void
die(int status, const char *what, int err)
{
    engine_say(what, error_text(err), "");
    quit(status);
}
