/* The host agent: starts programs of the host for the programs of one run of a container.
 *
 * A program of a container has our filter and no_new_privs, and nothing it starts can shed them. So
 * a start whose plan maps commands to the host forks the agent first. It waits at a socket with a
 * random name in the abstract namespace; both sides check that the other is of their own user. The
 * command itself stays in the container as a proxy (proxy.c): it hands over arguments, environment,
 * descriptors and all that a plain exec would keep, passes signals on, and ends as the program
 * ended.
 *
 * One connection is one program. Its bulk travels in a memfd, because a message has a size limit.
 */
#ifndef LPMX_AGENT_H
#define LPMX_AGENT_H

#include "../base/sys.h"

/* The host's own variables reach the loader under names with this prefix, beside those of the
 * container. */
#define AGENT_ENV_PREFIX "LPMX_HOST:"

/* Split the host's variables off @envp; what is left of it. */
char **agent_take_environment(char **envp);
/* Fork the agent, before the filter is installed; its name into @name. Its programs get the host's
 * variables, where there were any to take, else @envp. */
int agent_start(char **envp, char *name, size_t cap);

#endif
