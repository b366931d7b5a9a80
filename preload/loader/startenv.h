/* The environment of a program that is started from a plan. */
#ifndef LPMX_STARTENV_H
#define LPMX_STARTENV_H

#include "../base/sys.h"

#include <stddef.h>

/* What `lpmx-exec` was told about the environment; NULL: nothing. */
struct startenv {
    const char *pass; /* --pass: variables of the caller that are added where they are not set */
    const char *take; /* --take: variables of the caller that win over those that are set */
    const char *file; /* --env: file of NUL-terminated "NAME=VALUE" in place of the plan's */
};

/* Does the list @names, "NAME:PREFIX*:...", name the variable of @entry, "NAME=VALUE"? */
int startenv_names(const char *names, const char *entry);

/* Put into @out (room for @cap pointers) the environment that the words @base (a NULL-terminated
 * list) and the caller's @envp make; TERM is always passed. 0, or -E2BIG. */
int startenv_merge(const struct startenv *want, char **base, char **envp, char **out, size_t cap);

/* Map the file of --env and put its entries into @out of capacity @cap. 0 or -errno; -EBADMSG when
 * it is not a list of NUL-terminated entries. */
int startenv_read(const char *path, char **out, size_t cap);

#endif
