/* A call from its row to its answer. */
#include "run.h"

#include "fakeroot/cred.h"
#include "paths/anchored.h"
#include "paths/arguments.h"
#include "paths/openup.h"

HOT_FILE;

long
call_run(struct call *c)
{
    struct call again = *c;
    long r = arguments_check(c);

    if (r)
        return r;
    r = c->row->run(c);
    if (r == -EACCES && emulates_root() && openup_call(&again)) {
        *c = again;
        r = c->row->run(c);
    } else if (r == -EACCES && !emulates_root()) {
        *c = again;
        r = anchored_retry(c, r);
    }
    return r < 0 ? arguments_first(&again, r) : r;
}
