/* The loader's third life: a program of one container has executed a command that is another
 * container's. The process is the same, with its descriptors, signals and place in the terminal;
 * the caller's image has chosen arguments and environment (calls/exec/command.c). Here the other
 * container is entered, which needs its plan and view, and its program executed. */
#include "callee.h"

#include "../base/libc.h"
#include "../base/str.h"
#include "../calls/exec/exec.h"
#include "enter.h"
#include "explain.h"
#include "say.h"

/* The working directory as the callee sees it. */
static void
enter_directory(const struct exec_state *state)
{
    if (state->cwd[0] == '!') {
        engine_say(state->execfn, ": the working directory is the caller's own and not visible in ",
                   state->host);
        engine_say(state->execfn, ": the directory is ", state->cwd + 1);
        quit(126);
    }
    if (state->cwd[0])
        enter_cwd(state->cwd);
}

_Noreturn void
callee_run(const struct exec_state *state, char **argv, char **envp)
{
    static char name[LPMX_PATH_MAX], where[LPMX_PATH_MAX];
    uint64_t mask = 0;
    struct call c = {.mask = &mask, .slot = -1};
    size_t name_len = 0, where_len = 0;
    int err;

    sys4(SYS_rt_sigprocmask, 0, 0, &mask, 8);
    make_mount_points();
    enter_directory(state);
    err = (int)exec_program(&c, AT_FDCWD, state->exe, true, argv, envp);
    if (explain_start(state->exe)) {
        engine_say(state->execfn, ": that is a program of ", state->host);
        quit(err == -ENOENT || err == -ENOTDIR ? 127 : 126);
    }
    str_append(name, sizeof(name), &name_len, state->execfn, strlen(state->execfn));
    str_append(name, sizeof(name), &name_len, ": ", 2);
    str_append(name, sizeof(name), &name_len, state->exe, strlen(state->exe));
    str_append(where, sizeof(where), &where_len, " in ", 4);
    str_append(where, sizeof(where), &where_len, state->host, strlen(state->host));
    engine_say(name, where, error_text(err));
    quit(err == -ENOENT || err == -ENOTDIR ? 127 : 126);
}
