/* What POSIX ACLs grant and forbid to programs that were root and are another user now: one line a
 * case, the same for a real root and for an emulated one. Works in the working directory. */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"
#define ANNA    1234
#define BERT    1235
#define GROUP   777
#define OTHER   4321

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP_OF = 8, MASK = 16, OTHERS = 32 };

struct entry {
    uint16_t tag, perm;
    uint32_t id;
};

struct acl {
    uint32_t version;
    struct entry e[8];
};

static const struct {
    const char *name;
    unsigned n;
    struct entry e[8];
} acls[] = {
    {"anna-rw",
     5,
     {{USER_OBJ, 6, -1}, {USER, 6, ANNA}, {GROUP_OBJ, 0, -1}, {MASK, 6, -1}, {OTHERS, 0, -1}}},
    {"anna-none",
     5,
     {{USER_OBJ, 6, -1}, {USER, 0, ANNA}, {GROUP_OBJ, 6, -1}, {MASK, 6, -1}, {OTHERS, 6, -1}}},
    {"anna-masked",
     5,
     {{USER_OBJ, 6, -1}, {USER, 7, ANNA}, {GROUP_OBJ, 7, -1}, {MASK, 4, -1}, {OTHERS, 0, -1}}},
    {"empty-mask",
     5,
     {{USER_OBJ, 6, -1}, {USER, 7, ANNA}, {GROUP_OBJ, 7, -1}, {MASK, 0, -1}, {OTHERS, 4, -1}}},
    {"group-rx",
     5,
     {{USER_OBJ, 7, -1}, {GROUP_OBJ, 0, -1}, {GROUP_OF, 5, GROUP}, {MASK, 7, -1}, {OTHERS, 0, -1}}},
    {"group-none",
     5,
     {{USER_OBJ, 7, -1}, {GROUP_OBJ, 0, -1}, {GROUP_OF, 0, GROUP}, {MASK, 7, -1}, {OTHERS, 7, -1}}},
    {"two-groups",
     6,
     {{USER_OBJ, 7, -1},
      {GROUP_OBJ, 4, -1},
      {GROUP_OF, 1, GROUP},
      {GROUP_OF, 2, OTHER},
      {MASK, 7, -1},
      {OTHERS, 0, -1}}},
    {"closed-owner",
     5,
     {{USER_OBJ, 0, -1}, {USER, 7, ANNA}, {GROUP_OBJ, 0, -1}, {MASK, 7, -1}, {OTHERS, 0, -1}}},
    {"as-a-mode", 3, {{USER_OBJ, 7, -1}, {GROUP_OBJ, 5, -1}, {OTHERS, 1, -1}}},
};

#define N_ACLS (sizeof(acls) / sizeof(acls[0]))

static const char *
answer(long r)
{
    return r < 0 ? strerrorname_np(errno) : "ok";
}

static long
give(const char *path, const char *attribute, size_t i)
{
    struct acl acl = {2, {{0}}};

    memcpy(acl.e, acls[i].e, sizeof(acl.e));
    return setxattr(path, attribute, &acl, 4 + acls[i].n * sizeof(struct entry), 0);
}

static void
show(const char *path, const char *attribute)
{
    struct acl acl;
    long n = getxattr(path, attribute, &acl, sizeof(acl));
    struct stat st;

    must(!stat(path, &st), path);
    printf("  %s %o %d:%d %s", path, st.st_mode, st.st_uid, st.st_gid, attribute + 17);
    if (n < 0)
        printf(" %s", answer(n));
    for (long i = 0; i < (n - 4) / 8; i++)
        printf(" %d:%d:%d", acl.e[i].tag, acl.e[i].perm, (int)acl.e[i].id);
    puts("");
}

static void
try_file(const char *who, const char *path)
{
    int r = open(path, O_RDONLY), w = open(path, O_WRONLY);

    printf("  %s %s: read %s, write", who, path, r < 0 ? "no" : "yes");
    printf(" %s, access", w < 0 ? "no" : "yes");
    for (int mode = 1; mode < 8; mode++)
        printf(" %s", answer(access(path, mode)));
    puts("");
}

static void
try_directory(const char *who, const char *path)
{
    char name[160];

    printf("  %s %s: list", who, path);
    printf(" %s", answer(open(path, O_RDONLY | O_DIRECTORY)));
    snprintf(name, sizeof(name), "%s/in", path);
    printf(", enter %s", answer(open(name, O_RDONLY)));
    snprintf(name, sizeof(name), "%s/new-%s", path, who);
    printf(", make %s", answer(mkdir(name, 0700)));
    printf(", remove %s", answer(rmdir(name)));
    printf(", chdir %s\n", answer(chdir(path)));
}

static void
as(const char *who, uid_t user, gid_t group, gid_t further, const char *file, const char *directory)
{
    fflush(stdout);
    if (!fork()) {
        must(!setgroups(further != 0, &further) && !setgid(group) && !setuid(user), "setuid");
        try_file(who, file);
        printf("  %s changes it: %s\n", who, answer(give(file, ACCESS, 0)));
        printf("  %s removes it: %s\n", who, answer(removexattr(file, ACCESS)));
        printf("  %s chmod: %s\n", who, answer(chmod(file, 0600)));
        try_directory(who, directory);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

static void
make(const char *file, const char *directory)
{
    char in[140];
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL, 0640);

    must(fd >= 0 && !close(fd) && !mkdir(directory, 0750), file);
    snprintf(in, sizeof(in), "%s/in", directory);
    fd = open(in, O_WRONLY | O_CREAT | O_EXCL, 0644);
    must(fd >= 0 && !close(fd), in);
}

static void
inherit(size_t i)
{
    char directory[100], name[140];
    int fd;

    snprintf(directory, sizeof(directory), "default-%s", acls[i].name);
    must(!mkdir(directory, 0755), directory);
    printf("default %s: %s\n", acls[i].name, answer(give(directory, DEFAULT, i)));
    show(directory, DEFAULT);
    snprintf(name, sizeof(name), "%s/file", directory);
    umask(022);
    fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0666);
    must(fd >= 0 && !close(fd), name);
    show(name, ACCESS);
    snprintf(name, sizeof(name), "%s/below", directory);
    must(!mkdir(name, 0777), name);
    show(name, ACCESS);
    show(name, DEFAULT);
    umask(0);
}

int
main(void)
{
    umask(0);
    must(!chmod(".", 0755), ".");
    for (size_t i = 0; i < N_ACLS; i++) {
        char file[100], directory[100];

        snprintf(file, sizeof(file), "f-%s", acls[i].name);
        snprintf(directory, sizeof(directory), "d-%s", acls[i].name);
        make(file, directory);
        printf("%s: %s", acls[i].name, answer(give(file, ACCESS, i)));
        printf(" %s\n", answer(give(directory, ACCESS, i)));
        show(file, ACCESS);
        show(directory, ACCESS);
        as("anna", ANNA, ANNA, 0, file, directory);
        as("bert", BERT, BERT, 0, file, directory);
        as("member", BERT, BERT, GROUP, file, directory);
        as("of-both", BERT, OTHER, GROUP, file, directory);
        must(!chown(file, ANNA, GROUP) && !chmod(file, 04604), file);
        show(file, ACCESS);
        must(!chmod(file, 0070), file);
        show(file, ACCESS);
        as("owner", ANNA, ANNA, 0, file, directory);
        show(file, ACCESS);
        inherit(i);
    }
    return 0;
}
