/* Who serves a network asks for its peers' addresses often, and a trap costs more than a small
 * message. So the filter of a container lets these calls pass; a process gets a second filter,
 * which does not, when it binds a unix socket, for only then can it have a peer that wants to be
 * answered by name. It goes on to children and programs that are executed, as all filters do. */
#include "latefilter.h"

#include "../../engine/engine.h"
#include "../program/vfork.h"

#include <sys/socket.h>

void
latefilter_for_socket(int fd)
{
    int type = SOCK_STREAM, size = sizeof(type);
    enum filter_late level = FILTER_NAMES;

    sys5(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size);
    if (type != SOCK_STREAM)
        level = FILTER_MESSAGES;
    latefilter_raise(level);
}

void
latefilter_raise(enum filter_late level)
{
    if (engine.late_filter >= level || filter_install_late(level))
        return;
    if (!vfork_shares_memory()) /* else the filter is a vfork child's alone */
        engine.late_filter = (uint8_t)level;
}
