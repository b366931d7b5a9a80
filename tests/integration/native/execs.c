/* What execve says of odd scripts and odd ELF files: one line a case, which must be the same with
 * and without an engine. Works in the working directory, which is empty. */
#define _GNU_SOURCE
#include "common.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE       0x10000000UL /* of programs */
#define OTHER_BASE 0x20000000UL /* of interpreters */
#define MY_EXIT    7
#define ITS_EXIT   9

static char *const no_environment[] = {NULL};

static void
write_file(const char *name, const void *data, size_t size, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    must(fd >= 0 && write(fd, data, size) == (ssize_t)size && !fchmod(fd, mode) && !close(fd),
         name);
}

/* ---- one case ---- */

/* How a child ended that should have become another program; its errno comes by a pipe. */
static void
tell(const char *what, pid_t pid, int pipe_end)
{
    int status, error = 0;
    ssize_t n = read(pipe_end, &error, sizeof(error));

    must(waitpid(pid, &status, 0) == pid, "waitpid");
    if (n > 0)
        printf("%s: %s\n", what, strerrorname_np(error));
    else if (WIFSIGNALED(status))
        printf("%s: signal %s\n", what, sigabbrev_np(WTERMSIG(status)));
    else
        printf("%s: exit %d\n", what, WEXITSTATUS(status));
    close(pipe_end);
}

static void
try_at(const char *what, int dirfd, const char *path, int flags)
{
    char *const argv[] = {(char *)"zero", NULL};
    int ends[2];
    pid_t pid;

    must(!pipe2(ends, O_CLOEXEC), "pipe");
    fflush(stdout);
    pid = fork();
    if (!pid) {
        syscall(SYS_execveat, dirfd, path, argv, no_environment, flags);
        must(write(ends[1], &errno, sizeof(errno)) == sizeof(errno), "write");
        _exit(0);
    }
    close(ends[1]);
    tell(what, pid, ends[0]);
}

static void
try(const char *what, const char *path)
{
    try_at(what, AT_FDCWD, path, 0);
}

/* ---- scripts ---- */

static void
script(const char *what, const char *text)
{
    write_file("script", text, strlen(text), 0755);
    try(what, "./script");
}

/* The program itself, called as an interpreter, tells its arguments. */
static int
told(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        printf(" [%s]", argv[i]);
    printf("\n");
    return 0;
}

static void
scripts(void)
{
    char line[600];

    must(!mkdir("dir", 0755), "dir");
    write_file("plain", "x", 1, 0644);
    write_file("empty", "", 0, 0755);
    write_file("text", "text\n", 5, 0755);
    must(!symlink("loop", "loop"), "loop");
    script("nothing after", "#!\n");
    script("blanks after", "#! \t \n");
    script("two bytes", "#!");
    script("blanks and no newline", "#!  ");
    script("one byte", "#");
    script("an interpreter of one byte", "#!x");
    script("missing interpreter", "#!./absent\n");
    script("interpreter is a folder", "#!./dir\n");
    script("interpreter is the root", "#!/\n");
    script("interpreter is the working folder", "#!.\n");
    script("interpreter below a file", "#!./plain/x\n");
    script("interpreter not executable", "#!./plain\n");
    script("interpreter empty", "#!./empty\n");
    script("interpreter of another kind", "#!./text\n");
    script("interpreter in a loop of links", "#!./loop\n");
    script("interpreter itself", "#!./script\n");
    script("relative interpreter", "#!./tell\n");
    script("carriage return", "#!./tell\r\n");
    script("an argument with blanks", "#!./tell  a b  \t\n");
    memset(line, 'y', sizeof(line));
    memcpy(line, "#!./tell ", 9);
    line[300] = '\0';
    script("a long argument", line);
    memcpy(line, "#!./longname", 12);
    script("a long interpreter", line);
    script("a NUL in the line", "#!./tell\0 x");
}

/* ---- descriptors ---- */

static void
descriptors(void)
{
    const char *text = "#!./tell\n";
    char name[40];
    int kept, lost, folder, other, path;

    write_file("script", text, strlen(text), 0755);
    kept = open("script", O_RDONLY);
    lost = open("script", O_RDONLY | O_CLOEXEC);
    path = open("script", O_PATH | O_CLOEXEC);
    folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    other = open(".", O_RDONLY | O_DIRECTORY);
    must(kept >= 0 && lost >= 0 && folder >= 0 && other >= 0 && path >= 0, "open");
    must(!symlink("script", "link"), "link");
    try_at("script by descriptor", kept, "", AT_EMPTY_PATH);
    try_at("script by descriptor that is closed", lost, "", AT_EMPTY_PATH);
    try_at("script by O_PATH that is closed", path, "", AT_EMPTY_PATH);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", lost);
    try("script by /proc", name);
    snprintf(name, sizeof(name), "/dev/fd/%d", kept);
    try("script by /dev/fd", name);
    try_at("script below descriptor", other, "script", 0);
    try_at("script below descriptor that is closed", folder, "script", 0);
    try_at("link, not followed", other, "link", AT_SYMLINK_NOFOLLOW);
    try_at("folder by descriptor", folder, "", AT_EMPTY_PATH);
    try_at("no descriptor", 99, "", AT_EMPTY_PATH);
    try_at("below no descriptor", 99, "script", 0);
    try_at("below a file", kept, "script", 0);
    try_at("empty path", other, "", 0);
    try_at("working folder", AT_FDCWD, "", AT_EMPTY_PATH);
    try_at("unknown flag", kept, "", AT_EMPTY_PATH | 4);
    close(lost);
    lost = open("program", O_RDONLY | O_CLOEXEC);
    try_at("program by descriptor that is closed", lost, "", AT_EMPTY_PATH);
    try_at("program below descriptor that is closed", folder, "program", 0);
}

/* ---- ELF ---- */

struct odd { /* one page: headers, the code, and what PT_INTERP names */
    Elf64_Ehdr head;
    Elf64_Phdr load, interp, more;
    unsigned char code[16];
    char name[256];
};

/* A program that ends with @status. */
static struct odd
make_odd(unsigned long base, int status)
{
    static const unsigned char code[] = {0xb8, 60, 0, 0, 0, 0xbf, 0, 0, 0, 0, 0x0f, 0x05};
    struct odd o = {0};

    memcpy(o.head.e_ident, ELFMAG, SELFMAG);
    o.head.e_ident[EI_CLASS] = ELFCLASS64;
    o.head.e_ident[EI_DATA] = ELFDATA2LSB;
    o.head.e_ident[EI_VERSION] = EV_CURRENT;
    o.head.e_type = ET_EXEC;
    o.head.e_machine = EM_X86_64;
    o.head.e_version = EV_CURRENT;
    o.head.e_entry = base + offsetof(struct odd, code);
    o.head.e_phoff = offsetof(struct odd, load);
    o.head.e_ehsize = sizeof(o.head);
    o.head.e_phentsize = sizeof(Elf64_Phdr);
    o.head.e_phnum = 1;
    o.load = (Elf64_Phdr){.p_type = PT_LOAD,
                          .p_flags = PF_R | PF_X,
                          .p_vaddr = base,
                          .p_filesz = sizeof(o),
                          .p_memsz = sizeof(o),
                          .p_align = 4096};
    memcpy(o.code, code, sizeof(code));
    o.code[6] = (unsigned char)status;
    return o;
}

/* @o asks for the interpreter @name; @size: with its NUL. */
static void
set_interp(struct odd *o, const char *name, size_t size)
{
    o->head.e_phnum = 2;
    o->interp =
        (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(struct odd, name), .p_filesz = size};
    memset(o->name, 'x', sizeof(o->name));
    memcpy(o->name, name, strlen(name) + 1);
}

static void
try_odd(const char *what, const struct odd *o)
{
    write_file("odd", o, sizeof(*o), 0755);
    try(what, "./odd");
}

static void
interpreter(const char *what, const char *name, size_t size)
{
    struct odd o = make_odd(BASE, MY_EXIT);

    set_interp(&o, name, size);
    try_odd(what, &o);
}

static void
named(const char *what, const char *name)
{
    interpreter(what, name, strlen(name) + 1);
}

static void
second_interpreter(void)
{
    struct odd o = make_odd(BASE, MY_EXIT);

    set_interp(&o, "./its", 6);
    o.head.e_phnum = 3;
    o.more = o.interp;
    o.more.p_filesz = 0;
    try_odd("two, the second of no length", &o);
}

static void
far_interpreter(void)
{
    struct odd o = make_odd(BASE, MY_EXIT);

    set_interp(&o, "./its", 6);
    o.interp.p_offset = 1 << 20;
    try_odd("name beyond the file's end", &o);
    o.interp.p_offset = ~0UL - 4;
    try_odd("name beyond all", &o);
    o.interp.p_offset = offsetof(struct odd, name);
    o.interp.p_filesz = 4097;
    try_odd("name longer than a path", &o);
    o.interp.p_filesz = 1UL << 40;
    try_odd("name longer than memory", &o);
}

static void
odd_interpreters(void)
{
    struct odd its = make_odd(OTHER_BASE, ITS_EXIT);

    write_file("its", &its, sizeof(its), 0755);
    write_file("unexecutable", &its, sizeof(its), 0644);
    write_file("cut", &its, 40, 0755);
    write_file("headless", &its, sizeof(its.head), 0755);
    its.head.e_machine = EM_AARCH64;
    write_file("foreign", &its, sizeof(its), 0755);
    its = make_odd(OTHER_BASE, ITS_EXIT);
    its.head.e_type = ET_REL;
    write_file("object", &its, sizeof(its), 0755);
    its = make_odd(OTHER_BASE, ITS_EXIT);
    its.head.e_phentsize = 8;
    write_file("misshapen", &its, sizeof(its), 0755);
    its = make_odd(OTHER_BASE, ITS_EXIT);
    its.load.p_type = PT_NULL;
    write_file("unloadable", &its, sizeof(its), 0755);
    its = make_odd(OTHER_BASE, ITS_EXIT);
    set_interp(&its, "./absent", 9);
    write_file("nested", &its, sizeof(its), 0755);
    must(!symlink("its", "linked"), "linked");
}

static void
interpreters(void)
{
    struct odd o = make_odd(BASE, MY_EXIT);

    odd_interpreters();
    try_odd("none", &o);
    named("relative", "./its");
    named("by a link", "linked");
    interpreter("a NUL in the name", "./its", 20);
    interpreter("no NUL", "./its", 5);
    interpreter("of no length", "./its", 0);
    interpreter("of length 1", "", 1);
    interpreter("empty, of length 2", "", 2);
    named("missing", "./absent");
    named("missing folder", "/absent/its");
    named("a folder", "./dir");
    named("the root", "/");
    named("a loop of links", "./loop");
    named("below a file", "./plain/its");
    named("not executable", "./unexecutable");
    named("empty file", "./empty");
    named("text", "./text");
    named("a script", "./script");
    named("cut off", "./cut");
    named("headers only", "./headless");
    named("of another machine", "./foreign");
    named("an object file", "./object");
    named("odd program headers", "./misshapen");
    named("nothing to load", "./unloadable");
    named("with one of its own", "./nested");
    named("the program itself", "./odd");
    second_interpreter();
    far_interpreter();
}

static void
programs(void)
{
    struct odd o = make_odd(BASE, MY_EXIT);

    o.head.e_phnum = 0;
    try_odd("no program header", &o);
    o = make_odd(BASE, MY_EXIT);
    o.head.e_phentsize = 8;
    try_odd("program headers of another size", &o);
    o = make_odd(BASE, MY_EXIT);
    o.head.e_phoff = 1 << 20;
    try_odd("program headers beyond the end", &o);
    o = make_odd(BASE, MY_EXIT);
    o.head.e_type = ET_CORE;
    try_odd("a core", &o);
    o = make_odd(BASE, MY_EXIT);
    o.head.e_machine = EM_AARCH64;
    try_odd("another machine", &o);
    o = make_odd(BASE, MY_EXIT);
    write_file("odd", &o, 40, 0755);
    try("cut in the header", "./odd");
    write_file("odd", &o, 3, 0755);
    try("three bytes", "./odd");
}

int
main(int argc, char **argv)
{
    char self[4096];
    ssize_t n;

    if (!strstr(argv[0], "execs"))
        return told(argc, argv);
    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    must(n > 0, "self");
    self[n] = '\0';
    must(!symlink(self, "tell") && !symlink(self, "program"), "tell");
    scripts();
    descriptors();
    interpreters();
    programs();
    return 0;
}
