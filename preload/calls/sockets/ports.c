/* Published ports without a network namespace: a program of the container that binds such a port
 * gets another one of the host, chosen when the container was made, and sees its own wherever it
 * asks. So two servers on port 8888 run side by side. Connections to the port at a loopback
 * address arrive at the container's server. What it is not: a firewall; other ports are the
 * host's. */
#include "ports.h"

#include "../../base/libc.h"
#include "../../engine/plan.h"
#include "../program/usermem.h"

#include <netinet/in.h>

static uint16_t
swap(uint16_t port)
{
    return (uint16_t)(port << 8 | port >> 8);
}

static const struct plan_port *
ports(void)
{
    return (const void *)((const char *)engine.plan + engine.plan->ports.off);
}

/* A socket address with a port at @p, copied to @to? */
static bool
copy_inet(unsigned long p, unsigned len, struct inet_address *to)
{
    uint16_t family;

    if (!p || len < sizeof(struct sockaddr_in) || user_copy(&family, p, sizeof(family)))
        return false;
    if (family != AF_INET && (family != AF_INET6 || len < sizeof(*to)))
        return false;
    if (len > sizeof(*to))
        len = sizeof(*to);
    memset(to, 0, sizeof(*to));
    return !user_copy(to, p, len);
}

/* 127.0.0.0/8, 0.0.0.0, ::1, ::, and the first two mapped into IPv6. */
static bool
is_own(const struct inet_address *a)
{
    const struct sockaddr_in *v4 = (const void *)a;
    const struct sockaddr_in6 *v6 = (const void *)a;
    const unsigned char *ip =
        v4->sin_family == AF_INET ? (const void *)&v4->sin_addr : v6->sin6_addr.s6_addr;
    unsigned last = 0;

    if (v4->sin_family == AF_INET6) {
        for (unsigned i = 0; i < 10; i++)
            if (ip[i])
                return false;
        if (ip[10] != 0xff || ip[11] != 0xff) {
            for (unsigned i = 10; i < 15; i++)
                last |= ip[i];
            return !last && ip[15] <= 1;
        }
        ip += 12;
    }
    return ip[0] == 127 || !(ip[0] | ip[1] | ip[2] | ip[3]);
}

bool
port_outward(unsigned long p, unsigned len, bool binding, struct inet_address *to)
{
    struct sockaddr_in *in = (void *)to;

    if (!engine.plan->ports.n || !copy_inet(p, len, to) || (!binding && !is_own(to)))
        return false;
    for (uint32_t i = 0; i < engine.plan->ports.n; i++)
        if (ports()[i].inside == swap(in->sin_port)) {
            in->sin_port = swap((uint16_t)ports()[i].outside);
            return true;
        }
    return false;
}

void
port_inward(unsigned long p, int room, bool peer)
{
    struct inet_address a;
    struct sockaddr_in *in = (void *)&a;

    if (!engine.plan->ports.n || room < 0 || !copy_inet(p, (unsigned)room, &a) ||
        (peer && !is_own(&a)))
        return;
    for (uint32_t i = 0; i < engine.plan->ports.n; i++)
        if (ports()[i].outside == swap(in->sin_port)) {
            uint16_t port = swap((uint16_t)ports()[i].inside);

            user_put(p + offsetof(struct sockaddr_in, sin_port), &port, sizeof(port));
            return;
        }
}
