/* What the kernel tells of this program's memory: the same whether the kernel has mapped the
 * program itself or somebody else has done it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

extern char **environ;
extern char __executable_start, etext, edata, end;

static void
say(const char *what, int yes)
{
    printf("%s: %s\n", what, yes ? "yes" : "no");
}

static long
contents(const char *path, void *to, size_t size)
{
    int fd = open(path, O_RDONLY);
    long n = read(fd, to, size - 1);

    close(fd);
    ((char *)to)[n < 0 ? 0 : n] = '\0';
    return n;
}

/* Field @number of /proc/self/stat, from 1. */
static unsigned long
field(int number)
{
    static char text[4096];
    char *p;

    contents("/proc/self/stat", text, sizeof(text));
    p = strrchr(text, ')') + 2;
    for (int i = 3; i < number; i++)
        p = strchr(p, ' ') + 1;
    return strtoul(p, NULL, 10);
}

static int
is_within(unsigned long address, const void *low, const void *high)
{
    return address >= (unsigned long)low && address <= (unsigned long)high;
}

static void
check_auxv(void)
{
    static unsigned long told[256];
    static const unsigned long entries[] = {AT_PHDR,  AT_PHENT, AT_PHNUM,  AT_BASE, AT_ENTRY,
                                            AT_FLAGS, AT_UID,   AT_SECURE, AT_GID,  AT_EXECFN};

    contents("/proc/self/auxv", told, sizeof(told));
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        size_t at = 0;

        while (told[at] && told[at] != entries[i])
            at += 2;
        printf("auxv %lu is getauxval's: %s\n", entries[i],
               told[at + 1] == getauxval(entries[i]) ? "yes" : "no");
    }
}

int
main(int argc, char **argv)
{
    static char text[65536];
    char *heap = sbrk(0);
    long n;

    check_auxv();
    say("startcode", is_within(field(26), &__executable_start, &etext));
    say("endcode", is_within(field(27), &etext, &edata));
    say("startstack", is_within(field(28), (char *)argv - 8, argv));
    say("start_data", is_within(field(45), &etext, &edata));
    say("end_data", is_within(field(46), &etext, &edata));
    say("start_brk", field(47) <= (unsigned long)heap);
    say("arg_start", field(48) == (unsigned long)argv[0]);
    say("arg_end", field(49) == (unsigned long)argv[argc - 1] + strlen(argv[argc - 1]) + 1);
    say("env_start", !environ[0] || field(50) == (unsigned long)environ[0]);
    n = contents("/proc/self/cmdline", text, sizeof(text));
    say("cmdline", n == argv[argc - 1] + strlen(argv[argc - 1]) + 1 - argv[0]);
    n = contents("/proc/self/environ", text, sizeof(text));
    say("environ ends with a string", n > 0 && !text[n - 1]);
    say("the break moves", sbrk(4096) == (void *)heap && sbrk(0) == heap + 4096);
    return 0;
}
