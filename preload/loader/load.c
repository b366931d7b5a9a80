/* The plan and the strings of a start become the engine's. */
#include "load.h"

#include "../base/libc.h"
#include "../calls/fakeroot/permission.h"
#include "../engine/plan.h"
#include "../fast/choose.h"
#include "../uufs/walk/walkcache.h"
#include "say.h"

HOT_FILE;

/* A copy that stays: the state's own text is in the environment, which programs write over. */
const char *
load_keep(const char *text)
{
    char *copy = engine.room + engine.kept;
    size_t n = strlen(text) + 1;

    if (n > sizeof(engine.room) - engine.kept)
        die(126, text, -ENOEXEC);
    memcpy(copy, text, n);
    engine.kept += n;
    return copy;
}

void
load_plan(const char *path)
{
    static struct uufs_places places;
    const char *what;
    int err = plan_load(&engine, path, &what);

    if (err)
        die(125, what, err);
    engine.fs.may_search = permission_search;
    if (engine.fs.moves)
        engine.fs.places = &places;
    engine.expect_cancellation = choose_expect_cancellation;
}
