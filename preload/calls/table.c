/* calls.def as an array indexed by system call number. */
#include "table.h"

HOT_FILE;

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

#define CWD              CALL_CWD
#define NOPATH           CALL_NOPATH
#define follow           LAST_follow
#define nofollow         LAST_nofollow
#define last             LAST_last
#define inotify          LAST_inotify
#define flag_nofollow(i) (LAST_FLAG_NOFOLLOW + (i))
#define flag_follow(i)   (LAST_FLAG_FOLLOW + (i))

#define CALL(name, handler, when, dirfd_, path_, last_, intent_)                                   \
    [SYS_##name] = {.nr = SYS_##name,                                                              \
                    .dirfd = dirfd_,                                                               \
                    .path = path_,                                                                 \
                    .last_how = last_,                                                             \
                    .intent = INTENT_##intent_,                                                    \
                    .run = call_##handler},
#define REFUSE(name, error, why)

static const struct call_row table[] = {
#include "../calls.def"
};

const struct call_row *
call_find(long nr)
{
    if (nr < 0 || (size_t)nr >= ARRAY_LEN(table) || !table[nr].run)
        return NULL;
    return &table[nr];
}
