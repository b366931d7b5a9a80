/* Why a program that is there cannot be started, in words: which interpreter it lacks, which
 * machine it was made for, or that nothing may be executed from where it lies.
 *
 * Looked for only after a start has failed. Programs inside get the kernel's errno and no words. */
#include "explain.h"

#include "../base/libc.h"
#include "../base/str.h"
#include "../calls/exec/hashbang.h"
#include "../calls/paths/resolve.h"
#include "../engine/elf.h"
#include "../engine/engine.h"
#include "../uufs/hostfd.h"
#include "../uufs/walk/walk.h"
#include "say.h"

#include <elf.h>
#include <sys/stat.h>
#include <sys/statfs.h>

COLD_FILE;

#define FS_NOEXEC 8 /* ST_NOEXEC of statvfs(3) */

static const struct {
    const char *part, *other, *hint;
} libraries[] = {
    {"/ld-linux", "/lib/ld-musl-x86_64.so.1",
     "  (it was built for glibc, and this image has musl: take a build for musl or a static one, or"
     " an image with glibc)\n"},
    {"/ld-musl", "/lib64/ld-linux-x86-64.so.2",
     "  (it was built for musl, and this image has glibc: take a build for glibc or a static one)"
     "\n"},
};

static const struct {
    uint16_t machine;
    const char *name;
} machines[] = {
    {EM_AARCH64, "aarch64 (ARM)"},
    {EM_ARM, "32-bit ARM"},
    {EM_386, "32-bit x86"},
    {EM_PPC64, "ppc64 (POWER)"},
    {EM_S390, "s390x"},
    {EM_RISCV, "RISC-V"},
    {EM_LOONGARCH, "LoongArch"},
    {EM_X86_64, "x86-64, 32-bit"},
};

static bool
is_there(const char *ctr)
{
    struct uufs_hit hit;

    return !uufs_walk(&engine.fs, "/", ctr, UUFS_FOLLOW, &hit);
}

static bool
contains(const char *text, const char *part)
{
    size_t n = strlen(part);

    for (; *text; text++)
        if (!strncmp(text, part, n))
            return true;
    return false;
}

/* The hint after a missing C library; the other one being there says what happened. */
static void
say_library(const char *interp)
{
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++)
        if (contains(interp, libraries[i].part) && is_there(libraries[i].other)) {
            say(libraries[i].hint);
            return;
        }
    say("  (that file comes with the C library that the program was built for; a static build needs"
        " none)\n");
}

static void
say_missing(const char *path, const char *interp)
{
    static char text[2 * LPMX_PATH_MAX];
    static const char end[] = ", which the container does not have";
    size_t len = 0;

    str_append(text, sizeof(text), &len, interp, strlen(interp));
    str_append(text, sizeof(text), &len, end, sizeof(end) - 1);
    engine_say(path, ": needs ", text);
}

static bool
explain_script(const char *path, const struct elf_file *file)
{
    static char head[HASHBANG_SIZE + 1];
    size_t n = file->n < HASHBANG_SIZE ? file->n : HASHBANG_SIZE;
    char *interp, *arg;

    memcpy(head, file->head, n);
    if (hashbang_parse(head, &interp, &arg) || interp[0] != '/' || is_there(interp))
        return false;
    n = strlen(interp);
    if (interp[n - 1] == '\r') {
        engine_say(path, ": its first line ends with a carriage return", "");
        say("  (it was written with the line ends of DOS: `sed -i 's/\\r$//' FILE` mends it)\n");
        return true;
    }
    say_missing(path, interp);
    say("  (the script is run by it: install it in the container, or take an image that has it)\n");
    return true;
}

static bool
explain_machine(const char *path, const Elf64_Ehdr *e)
{
    const char *name = "another machine";

    if (e->e_ident[EI_CLASS] == ELFCLASS64 && e->e_machine == EM_X86_64)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(machines); i++)
        if (e->e_machine == machines[i].machine)
            name = machines[i].name;
    engine_say(path, ": a program for ", name);
    say("  (this machine runs those for x86-64, 64-bit: take an image of linux/amd64)\n");
    return true;
}

static bool
explain_elf(const char *path, const struct elf_file *file)
{
    static char interp[LPMX_PATH_MAX];
    Elf64_Ehdr e;

    if (file->n < sizeof(e) || memcmp(file->head, ELFMAG, SELFMAG))
        return false;
    memcpy(&e, file->head, sizeof(e));
    if (explain_machine(path, &e))
        return true;
    if (elf_interp(file, interp, sizeof(interp)) || interp[0] != '/' || is_there(interp))
        return false;
    say_missing(path, interp);
    say_library(interp);
    return true;
}

bool
explain_noexec(const char *path, const char *host)
{
    struct statfs fs;

    if (sys2(SYS_statfs, host, &fs) || !(fs.f_flags & FS_NOEXEC))
        return false;
    engine_say(path, ": its file system is mounted noexec, so nothing is executed from it", "");
    say("  (for an image's files: put the store elsewhere, LPMX_HOME=/some/local/folder)\n");
    return true;
}

bool
explain_nested(const char *path)
{
    engine_say(path, ": a container cannot be started from inside another", "");
    say("  (map the command when the outer one is started: `lpmx run -m NAME=image:IMAGE`, or `-m"
        " lpmx=host` for lpmx itself)\n");
    return true;
}

bool
explain_start(const char *path)
{
    static struct uufs_hit hit;
    struct elf_file file;
    char here[LPMX_PATH_MAX] = "";
    bool told = false;
    int fd;

    if (path[0] != '/' && call_base(AT_FDCWD, here, sizeof(here)))
        return false;
    if (uufs_walk(&engine.fs, here, path, UUFS_FOLLOW, &hit) || hit.type == S_IFDIR)
        return false;
    if (explain_noexec(path, hit.host))
        return true;
    fd = hostfd_open(hit.host, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return false;
    if (!elf_read_head(&file, fd))
        told = file.n > 2 && file.head[0] == '#' && file.head[1] == '!'
                   ? explain_script(path, &file)
                   : explain_elf(path, &file);
    sys1(SYS_close, fd);
    return told;
}
