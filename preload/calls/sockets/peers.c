/* The file WORK/peers: who was what when it called, listened or sent. Each process has a place in
 * it by its pid, for each act one; a process with the same pid as an older one is told by its time
 * of birth. What is not in there is asked of the process itself: the state string of its last
 * execve is in its environment.
 *
 * It lasts as long as the container, and holds the last few thousand processes. Not an
 * identification: whoever can write to it is the user. */
#include "peers.h"

#include "../../base/str.h"
#include "../../engine/procnumber.h"
#include "../../uufs/hostfd.h"
#include "../../uufs/path.h"
#include "../../uufs/upper.h"
#include "../fakeroot/cred.h"
#include "../proc/exe.h"
#include "../program/perform.h"
#include "../program/usermem.h"
#include "latefilter.h"

#include <sys/socket.h>
#include <sys/un.h>

#define PIDS          2048
#define STATE_CRED    5 /* the part of the state string, see engine/execstate.c */
#define SO_PEERGROUPS 59

struct record {
    uint32_t pid, act;
    uint64_t born;
    uint32_t uid, gid, n_groups, check;
    uint32_t groups[CRED_GROUPS];
};
#define HEAD_SIZE offsetof(struct record, groups)

static uint32_t
checksum(const struct record *r)
{
    uint32_t sum = r->pid ^ r->act * 31 ^ (uint32_t)r->born ^ r->uid * 7 ^ r->gid * 13;

    for (uint32_t i = 0; i < r->n_groups && i < CRED_GROUPS; i++)
        sum = sum * 31 + r->groups[i];
    return sum ^ r->n_groups;
}

static long
place_of(uint32_t pid, enum peer_act act)
{
    return (long)((pid % PIDS * PEER_ACTS + act) * sizeof(struct record));
}

static OWN_FRAME int
open_records(int flags)
{
    char path[LPMX_PATH_MAX];
    size_t len;

    if (!engine.fs.work || work_path(&engine.fs, "/peers", path, &len))
        return -ENOENT;
    return hostfd_open(path, flags, 0600);
}

/* The time of birth of process @pid, 0: there is none. */
static uint64_t
birth(uint32_t pid)
{
    char path[40] = "/proc/";
    size_t len = 6 + str_decimal(path + 6, pid);
    long born;

    memcpy(path + len, "/stat", 6);
    born = proc_number(path, 20);
    return born > 0 ? (uint64_t)born : 0;
}

void
peers_note_ids(enum peer_act act, uint32_t uid, uint32_t gid)
{
    const struct cred *c = cred_now();
    struct record r = {.pid = (uint32_t)sys0(SYS_getpid), .act = act, .uid = uid, .gid = gid};
    int fd = open_records(O_WRONLY | O_CREAT);

    if (fd < 0)
        return;
    r.born = birth(r.pid);
    r.n_groups = c->n_groups;
    memcpy(r.groups, c->groups, c->n_groups * sizeof(*c->groups));
    r.check = checksum(&r);
    sys4(SYS_pwrite64, fd, &r, HEAD_SIZE + r.n_groups * sizeof(*r.groups), place_of(r.pid, act));
    sys1(SYS_close, fd);
}

void
peers_note(enum peer_act act)
{
    const struct cred *c = cred_now();

    if (act == PEER_CHANGES) /* what a message tells without being asked to */
        peers_note_ids(act, c->user.real, c->group.real);
    else
        peers_note_ids(act, c->user.effective, c->group.effective);
}

static bool
read_record(int fd, uint32_t pid, uint64_t born, enum peer_act act, struct record *r)
{
    long n = sys4(SYS_pread64, fd, r, sizeof(*r), place_of(pid, act));

    return n >= (long)HEAD_SIZE && r->pid == pid && r->act == act && r->n_groups <= CRED_GROUPS &&
           n >= (long)(HEAD_SIZE + r->n_groups * sizeof(*r->groups)) && r->check == checksum(r) &&
           (!born || born == r->born);
}

/* What the process was when it was last executed, where it is one of this container. */
static OWN_FRAME bool
ask_process(uint32_t pid, bool effective, struct record *r)
{
    char text[CRED_TEXT_MAX], plan[LPMX_PATH_MAX];
    size_t folder = path_parent(engine.fs.work, engine.fs.work_len);
    struct cred c = {0};
    bool secure;

    if (proc_state_part(pid, 0, plan, sizeof(plan)) ||
        !path_below(plan, strlen(plan), engine.fs.work, folder) ||
        proc_state_part(pid, STATE_CRED, text, sizeof(text)) || cred_parse(text, &c, &secure))
        return false;
    r->uid = effective ? c.user.effective : c.user.real;
    r->gid = effective ? c.group.effective : c.group.real;
    r->n_groups = c.n_groups;
    memcpy(r->groups, c.groups, c.n_groups * sizeof(*c.groups));
    return true;
}

/* The first of @acts (PEER_ACTS ends them) that the process @pid has noted. */
static bool
find(uint32_t pid, const enum peer_act *acts, bool effective, struct record *r)
{
    int fd = open_records(O_RDONLY);
    uint64_t born = birth(pid);
    bool found = false;

    for (; fd >= 0 && !found && *acts != PEER_ACTS; acts++)
        found = read_record(fd, pid, born, *acts, r);
    if (fd >= 0)
        sys1(SYS_close, fd);
    return found || (engine.fs.work && born && ask_process(pid, effective, r));
}

/* ---- the options of a socket ---- */

/* Who called has no name, mostly; who listens has. */
static bool
peer_listens(int fd)
{
    struct sockaddr_un un;
    int len = sizeof(un);

    return !sys3(SYS_getpeername, fd, &un, &len) &&
           len > (int)offsetof(struct sockaddr_un, sun_path);
}

static bool
find_peer(int fd, const struct ucred *kernel, struct record *r)
{
    static const enum peer_act called[] = {PEER_CALLS, PEER_LISTENS, PEER_ACTS};
    static const enum peer_act listened[] = {PEER_LISTENS, PEER_CALLS, PEER_ACTS};

    return kernel->pid > 0 && kernel->uid == (uint32_t)sys0(SYS_geteuid) &&
           find((uint32_t)kernel->pid, peer_listens(fd) ? listened : called, true, r);
}

static long
put_option(const struct call *c, int room, const void *value, int size)
{
    int told = room < size ? room : size, err;

    if (room < 0)
        return -EINVAL;
    err = user_put(c->a[3], value, (size_t)told);
    return err ? err : user_put(c->a[4], &told, sizeof(told));
}

static long
put_groups(const struct call *c, int room, const struct record *r)
{
    int size = (int)(r->n_groups * sizeof(*r->groups)), err;

    if (room >= size)
        return put_option(c, room, r->groups, size);
    err = room < 0 ? -EINVAL : user_put(c->a[4], &size, sizeof(size));
    return err ? err : -ERANGE;
}

long
call_getsockopt(struct call *c)
{
    struct ucred kernel;
    struct record r;
    int room, size = sizeof(kernel);
    long err = user_copy(&room, c->a[4], sizeof(room));

    if (err || sys5(SYS_getsockopt, c->a[0], SOL_SOCKET, SO_PEERCRED, &kernel, &size) ||
        !find_peer((int)c->a[0], &kernel, &r))
        return call_raw(c);
    if (c->a[2] == SO_PEERGROUPS)
        return put_groups(c, room, &r);
    kernel.uid = r.uid;
    kernel.gid = r.gid;
    return put_option(c, room, &kernel, sizeof(kernel));
}

/* SO_PASSCRED: from now on messages tell who sent them. */
long
call_setsockopt(struct call *c)
{
    long r = call_raw(c);

    if (!r)
        latefilter_raise(FILTER_MESSAGES);
    return r;
}

long
call_listen(struct call *c)
{
    peers_note(PEER_LISTENS);
    return call_raw(c);
}

long
call_socketpair(struct call *c)
{
    peers_note(PEER_CALLS);
    return call_raw(c);
}

/* ---- messages ---- */

/* The credentials in the control message at @at of @size bytes, or NULL; *next: the one after it.
 */
static struct ucred *
credentials_at(char *control, size_t size, size_t at, size_t *next)
{
    struct cmsghdr *h = (struct cmsghdr *)(void *)(control + at);

    if (size - at < sizeof(*h) || h->cmsg_len < sizeof(*h) || h->cmsg_len > size - at) {
        *next = size;
        return NULL;
    }
    *next = at + CMSG_ALIGN(h->cmsg_len);
    if (*next > size)
        *next = size;
    return h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS &&
                   h->cmsg_len >= CMSG_LEN(sizeof(struct ucred))
               ? (struct ucred *)(void *)CMSG_DATA(h)
               : NULL;
}

static bool
may_send(const struct cred_ids *ids, uint32_t id, enum cred_cap cap)
{
    return id == ids->real || id == ids->effective || id == ids->saved || cred_has(cred_now(), cap);
}

int
peers_send(struct msghdr *m, char room[PEERS_CONTROL])
{
    const struct cred *own = cred_now();
    size_t size = m->msg_controllen, next;
    struct ucred *u;
    bool found = false;

    if (!m->msg_control || size < sizeof(struct cmsghdr) || size > PEERS_CONTROL ||
        user_copy(room, (unsigned long)m->msg_control, size))
        return 0;
    for (size_t at = 0; at < size; at = next) {
        u = credentials_at(room, size, at, &next);
        if (!u)
            continue;
        if ((u->pid != (int)sys0(SYS_getpid) && !cred_has(own, CRED_CAP_SYS_ADMIN)) ||
            !may_send(&own->user, u->uid, CRED_CAP_SETUID) ||
            !may_send(&own->group, u->gid, CRED_CAP_SETGID))
            return -EPERM;
        peers_note_ids(PEER_SENDS, u->uid, u->gid);
        u->uid = (uint32_t)sys0(SYS_getuid);
        u->gid = (uint32_t)sys0(SYS_getgid);
        found = true;
    }
    if (found)
        m->msg_control = room;
    return found;
}

void
peers_receive(const struct msghdr *m)
{
    static const enum peer_act sent[] = {PEER_SENDS, PEER_CHANGES, PEER_ACTS};
    size_t size = m->msg_controllen, next;
    struct record r;

    if (!m->msg_control || !size || user_readable(m->msg_control, size))
        return;
    for (size_t at = 0; at < size; at = next) {
        struct ucred *u = credentials_at(m->msg_control, size, at, &next);

        if (u && u->pid > 0 && u->uid == (uint32_t)sys0(SYS_getuid) &&
            find((uint32_t)u->pid, sent, false, &r)) {
            u->uid = r.uid;
            u->gid = r.gid;
        }
    }
}
