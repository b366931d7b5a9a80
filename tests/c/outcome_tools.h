/* What is to be seen of a random call that was cut short: the tree of before, of after, or
 * something between. */
#ifndef LPMX_TESTS_OUTCOME_TOOLS_H
#define LPMX_TESTS_OUTCOME_TOOLS_H

#include "random_tools.h"

#include <signal.h>
#include <sys/ptrace.h>

/* May the call succeed on the plain tree? */
static inline bool
plausible(const char *plain, const struct op *op)
{
    char a[PATH_MAX], b[PATH_MAX];
    struct stat st;
    bool there, other;

    snprintf(a, sizeof(a), "%s%s", plain, op->a);
    snprintf(b, sizeof(b), "%s%s", plain, op->b);
    other = !lstat(b, &st);
    there = !lstat(a, &st);
    switch (op->kind) {
    case OP_CREATE:
    case OP_MKDIR:
    case OP_SYMLINK:
        return !there;
    case OP_RMDIR:
        return there && S_ISDIR(st.st_mode);
    case OP_EXCHANGE:
        return there && other;
    case OP_NOREPLACE:
    case OP_LINK:
        return there && !other;
    default:
        return there && (op->kind != OP_UNLINK || !S_ISDIR(st.st_mode));
    }
}

/* A directory put in the place of an empty one that holds marks takes two steps on the disk:
 * between them the empty one is at the old name. The oracle is brought there, too. */
static inline int
displaced_differs(const struct box *b, const char *plain, const struct op *op, char *why)
{
    char old[PATH_MAX];
    struct stat st;
    int differs;

    snprintf(old, sizeof(old), "%s%s", plain, op->a);
    if (op->kind != OP_RENAME || u_stat(&b->fs, op->a, &st) || mkdir(old, 0755))
        return 1;
    chmod(old, st.st_mode & 07777);
    differs = tree_differs(&b->fs, "", plain, why);
    if (!differs) /* clean up, and go on from the finished rename */
        differs = u_rmdir(&b->fs, op->a) || rmdir(old);
    return differs;
}

/* 0: nothing of the call is to be seen yet; 1: it is done; -1: something between. */
static inline int
what_is_seen(const struct box *b, const char *plain, const struct op *op)
{
    static char before[512], after[512];

    if (!tree_differs(&b->fs, "", plain, before))
        return 0;
    if (!op_plain(plain, op) &&
        (!tree_differs(&b->fs, "", plain, after) || !displaced_differs(b, plain, op, after)))
        return 1;
    fprintf(stderr, "%s %s %s: before: %s; after: %s\n", kind_name[op->kind], op->a, op->b, before,
            after);
    return -1;
}

#endif
