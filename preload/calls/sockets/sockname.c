/* From the name that the kernel tells of a unix socket to the one that the container has. The last
 * few that this process bound otherwise than by their host path's own name are in a ring, one
 * behind the other. A lock that is only tried: who does not get it goes on without, and tells the
 * name that can be made of the host's. */
#include "sockname.h"

#include "../../engine/engine.h"
#include "../../uufs/walk/fromhost.h"
#include "../program/root.h"
#include "../program/usermem.h"
#include "sockbind.h"

#define NAMES 16

static struct name {
    struct sockaddr_un host, given;
    unsigned given_len;
} names[NAMES];
static unsigned next_name;
static int busy;

static bool
lock(void)
{
    return !__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE);
}

static void
unlock(void)
{
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
}

static struct name *
find(const struct sockaddr_un *host)
{
    for (unsigned i = 0; i < NAMES; i++)
        if (names[i].given_len &&
            !strncmp(names[i].host.sun_path, host->sun_path, sizeof(host->sun_path)))
            return &names[i];
    return NULL;
}

void
sockname_note(const struct sockaddr_un *host, const struct sockaddr_un *given, unsigned given_len)
{
    struct name *name;

    if (!lock())
        return;
    name = find(host);
    if (!name)
        name = &names[next_name++ % NAMES];
    name->host = *host;
    name->given = *given;
    name->given_len = given_len;
    unlock();
}

/* If @un is such a host name, replace it by what was given; its length, or 0. */
static unsigned
given_name(struct sockaddr_un *un)
{
    struct name *name;
    unsigned len = 0;

    if (!lock())
        return 0;
    name = find(un);
    if (name) {
        *un = name->given;
        len = name->given_len;
    }
    unlock();
    return len;
}

unsigned
sockname_show(struct sockaddr_un *un, unsigned len)
{
    char host[sizeof(un->sun_path) + 1], ctr[LPMX_PATH_MAX];
    const char *shown = NULL;
    unsigned given_len;
    bool outside;

    if (len <= PATH_OFFSET || un->sun_family != AF_UNIX || !un->sun_path[0])
        return len;
    memset(host, 0, sizeof(host));
    memcpy(host, un->sun_path,
           len - PATH_OFFSET < sizeof(host) ? len - PATH_OFFSET : sizeof(host) - 1);
    if (host[0] == '/') {
        memcpy(un->sun_path, host, sizeof(un->sun_path));
        given_len = given_name(un);
        if (given_len)
            return given_len;
        if (!uufs_from_host(&engine.fs, host, ctr, sizeof(ctr)))
            shown = root_show(ctr, &outside);
    } else if (SOCKBIND_IS_ROOTED(host)) {
        shown = root_show(host + SOCKBIND_ROOTED_LEN, &outside);
    }
    if (!shown || strlen(shown) >= sizeof(un->sun_path))
        return len;
    memset(un->sun_path, 0, sizeof(un->sun_path));
    memcpy(un->sun_path, shown, strlen(shown));
    return (unsigned)(PATH_OFFSET + strlen(shown) + 1);
}

int
sockname_put(unsigned long to, int room, unsigned long len, const void *name, unsigned size)
{
    int told = (int)size, err;

    if (room < 0)
        return -EINVAL;
    err = user_put(to, name, (unsigned)room < size ? (unsigned)room : size);
    return err ? err : user_put(len, &told, sizeof(told));
}
