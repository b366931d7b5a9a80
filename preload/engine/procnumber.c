/* Numbers in files of /proc. */
#include "procnumber.h"

#include "../base/sys.h"
#include "../uufs/hostfd.h"

long
proc_number(const char *path, unsigned blanks)
{
    char text[512], *p = text;
    int fd = hostfd_open(path, O_RDONLY, 0);
    long n = fd < 0 ? -1 : sys3(SYS_read, fd, text, sizeof(text) - 1), number = 0;

    if (fd >= 0)
        sys1(SYS_close, fd);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    for (char *q = text; *q; q++)
        if (*q == ')')
            p = q;
    for (; *p && blanks; p++)
        blanks -= *p == ' ';
    if (*p < '0' || *p > '9')
        return -1;
    for (; *p >= '0' && *p <= '9'; p++)
        number = number * 10 + *p - '0';
    return number;
}
