/* Credentials of a program under root emulation: what setuid(2), capset(2) and their kin keep, per
 * process, across fork, vfork and execve. The kernel's own stay as they are: nothing here gives a
 * program a right, it only gives the answers that a kernel would give to one that has it. */
#ifndef LPMX_CRED_H
#define LPMX_CRED_H

#include "../../engine/plan.h"

#define CRED_GROUPS   256
#define CRED_CAPS     41 /* CAP_CHOWN .. CAP_CHECKPOINT_RESTORE */
#define CRED_ALL      ((1ull << CRED_CAPS) - 1)
#define CRED_TEXT_MAX (16 * 20 + CRED_GROUPS * 9)

enum cred_cap {
    CRED_CAP_CHOWN = 0,
    CRED_CAP_DAC_OVERRIDE = 1,
    CRED_CAP_DAC_READ_SEARCH = 2,
    CRED_CAP_FOWNER = 3,
    CRED_CAP_FSETID = 4,
    CRED_CAP_SETGID = 6,
    CRED_CAP_SETUID = 7,
    CRED_CAP_SETPCAP = 8,
    CRED_CAP_SYS_CHROOT = 18,
    CRED_CAP_SYS_ADMIN = 21,
    CRED_CAP_MKNOD = 27,
    CRED_CAP_SETFCAP = 31,
};

struct cred_ids {
    uint32_t real, effective, saved, fs;
};

struct cred {
    struct cred_ids user, group;
    uint64_t effective, permitted, inheritable, bounding, ambient; /* sets of capabilities */
    uint32_t securebits;
    uint32_t n_groups;
    uint32_t groups[CRED_GROUPS];
};

/* Does this container emulate root? */
static inline bool
emulates_root(void)
{
    return engine.plan->flags & PLAN_FAKEROOT;
}

/* The credentials of the calling process. */
const struct cred *cred_now(void);
/* The same, to be changed. */
struct cred *cred_change(void);
bool cred_has(const struct cred *c, enum cred_cap cap);
/* Is @gid @main, the group of one of @c's ids, or one of the further groups of @c? */
bool cred_is_member(const struct cred *c, uint32_t main, uint32_t gid);
/* The same with the group that decides about files. */
bool cred_in_group(const struct cred *c, uint32_t gid);

/* Before the first program: the identity of the plan. */
void cred_start(void);
/* What is handed on by execve of a program with metadata @st (as shown) and file capabilities
 * @caps (the value of security.capability, @caps_size bytes, 0: none) as text into @text of
 * CRED_TEXT_MAX bytes. */
void cred_exec_text(const struct stat *st, const void *caps, long caps_size, char *text);
/* Take over what the execve handed on. -EINVAL when it is not ours. */
int cred_restore(const char *text);
/* Such a text into @c; *secure: AT_SECURE. */
int cred_parse(const char *text, struct cred *c, bool *secure);
/* Did the last execve raise rights (AT_SECURE)? */
bool cred_secure(void);

#endif
