/* The exec map: a command that is found in this container and runs somewhere else. Here is what is
 * decided in the caller's image: which row, with which variables, under which name, from which
 * directory. loader/callee.c and loader/proxy.c carry it out in the next one.
 *
 * The commands are visible as plain files of a bind, so that looking them up, listing them and
 * testing them needs no rule here. */
#include "command.h"

#include "../../base/libc.h"
#include "../../base/str.h"
#include "../../uufs/walk/walk.h"
#include "../paths/resolve.h"
#include "../program/usermem.h"

static const char *
text(struct uufs_string s)
{
    return engine.fs.strings + s.off;
}

static const struct uufs_string *
list(struct plan_list l)
{
    return (const void *)(engine.fs.strings + l.off);
}

HOT_TEXT const struct plan_command *
command_find(const struct uufs_hit *hit)
{
    const struct plan_list l = engine.plan->commands;
    const struct plan_command *m = (const void *)(engine.fs.strings + l.off);

    if (hit->bind < 0 || !(engine.fs.binds[hit->bind].flags & UUFS_BIND_COMMANDS))
        return NULL;
    for (uint32_t i = 0; i < l.n; i++)
        if (m[i].path.len == hit->ctr_len && !memcmp(text(m[i].path), hit->ctr, hit->ctr_len))
            return &m[i];
    return NULL;
}

/* ---- working directory ---- */

/* Binds are shown to a callee where the caller has them, and "/" is everybody's; any other
 * directory is the caller's alone, which the next image has to say, not we: the caller expects an
 * errno. */
static int
own_directory(char *out, size_t cap)
{
    char ctr[LPMX_PATH_MAX];
    struct uufs_hit hit;
    size_t len = 0;

    out[0] = '\0';
    if (call_base(AT_FDCWD, ctr, sizeof(ctr)))
        return 0; /* removed, or entered by a descriptor: the target sees what it sees */
    if (!ctr[1])
        return str_append(out, cap, &len, ctr, 1);
    if (!uufs_walk(&engine.fs, "/", ctr, 0, &hit) && !hit.in_union)
        return 0;
    out[len++] = '!';
    return str_append(out, cap, &len, ctr, strlen(ctr));
}

int
command_state(const struct plan_command *m, struct exec_state *state, char *cwd, size_t cap)
{
    size_t len = 0;
    int err =
        m->cwd.len ? str_append(cwd, cap, &len, text(m->cwd), m->cwd.len) : own_directory(cwd, cap);

    state->cwd = cwd;
    state->life = LIFE_PROXY;
    state->command =
        (int)(m - (const struct plan_command *)(engine.fs.strings + engine.plan->commands.off));
    if (m->kind == COMMAND_CALLEE) {
        state->life = LIFE_CALLEE;
        state->plan = text(m->plan);
        state->exe = text(m->target);
        state->host = text(m->where);
        state->execfn = text(m->name);
    }
    return err;
}

/* ---- environment ---- */

/* Does the variable @entry, whose name has @name_len bytes, match "NAME", "PREFIX*" or
 * "NAME=VALUE"? */
static bool
matches(const char *pattern, size_t len, const char *entry, size_t name_len)
{
    if (len && pattern[len - 1] == '*')
        return name_len >= len - 1 && !memcmp(pattern, entry, len - 1);
    if (name_len > len || memcmp(pattern, entry, name_len))
        return false;
    return len == name_len || (pattern[name_len] == '=' && !strcmp(pattern, entry));
}

static bool
is_listed(const struct plan_command *m, const char *entry, size_t name_len)
{
    const struct uufs_string *names = list(m->env_names);

    for (uint32_t i = 0; i < m->env_names.n; i++)
        if (matches(text(names[i]), names[i].len, entry, name_len))
            return true;
    return false;
}

static bool
is_set(const struct plan_command *m, const char *entry, size_t name_len)
{
    const struct uufs_string *own = list(m->env);

    for (uint32_t i = 0; i < m->env.n; i++)
        if (own[i].len > name_len && text(own[i])[name_len] == '=' &&
            !memcmp(text(own[i]), entry, name_len))
            return true;
    return false;
}

long
command_environment(const struct plan_command *m, char **envp, long n, char **out)
{
    char entry[LPMX_PATH_MAX]; /* of a longer one the beginning, which holds its name */
    const struct uufs_string *own = list(m->env);
    bool wanted = m->kind == COMMAND_HOST; /* those listed, not the others */
    bool aside = m->flags & COMMAND_ASIDE; /* all of them: the proxy renames them */
    long kept = 0;

    for (long i = 0; i < n; i++) {
        size_t len = 0;

        entry[sizeof(entry) - 1] = '\0';
        if (user_string(entry, sizeof(entry), (unsigned long)envp[i]) == -EFAULT)
            return -EFAULT;
        entry[sizeof(entry) - 1] = '\0';
        while (entry[len] && entry[len] != '=')
            len++;
        if (aside || (is_listed(m, entry, len) == wanted && !is_set(m, entry, len)))
            out[kept++] = envp[i];
    }
    for (uint32_t i = 0; i < m->env.n; i++)
        out[kept++] = (char *)text(own[i]);
    return kept;
}

/* ---- argv[0] ---- */

static const char *
last_part(const char *path)
{
    const char *last = path;

    for (const char *p = path; *p; p++)
        if (*p == '/')
            last = p + 1;
    return last;
}

/* A bare name that is the target's own stays, also as a login shell's "-name". A path is the
 * caller's, and another name nothing the target could find itself by: it gets its path. */
int
command_name(const struct plan_command *m, char **argv)
{
    char name[LPMX_NAME_MAX + 2];
    const char *target = text(m->target);
    int err = user_string(name, sizeof(name), (unsigned long)argv[0]);

    if (err == -EFAULT)
        return err;
    if (err || strcmp(name[0] == '-' ? name + 1 : name, last_part(target)))
        argv[0] = (char *)target;
    return 0;
}
