/* Whose process is at the other end of a unix socket: SO_PEERCRED, SO_PEERGROUPS and
 * SCM_CREDENTIALS under root emulation. The kernel tells the peer's pid and its real user; who it
 * believes to be is what it has written down. */
#ifndef LPMX_PEERS_H
#define LPMX_PEERS_H

#include "../../base/sys.h"

struct msghdr;

enum peer_act {               /* when credentials are taken, as the kernel takes them */
                PEER_CALLS,   /* connect, socketpair */
                PEER_LISTENS, /* listen */
                PEER_SENDS,   /* a message with credentials */
                PEER_CHANGES, /* set*id */
                PEER_ACTS,
};

/* The calling process does @act: note its credentials. */
void peers_note(enum peer_act act);
/* The same with the ids of a message. */
void peers_note_ids(enum peer_act act, uint32_t uid, uint32_t gid);

#define PEERS_CONTROL 1024 /* bytes of control messages that are looked through */

/* Credentials in the control messages of @m, which is our copy of a program's, become those that
 * the kernel takes from its real user; the control messages are copied to @room for that. -EPERM:
 * the program may not send them. */
int peers_send(struct msghdr *m, char room[PEERS_CONTROL]);
/* Credentials in received control messages become the sender's own. */
void peers_receive(const struct msghdr *m);

#endif
