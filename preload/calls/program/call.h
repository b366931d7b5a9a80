/* One intercepted system call, its row of calls.def, and the handlers that the rows name. */
#ifndef LPMX_CALL_H
#define LPMX_CALL_H

#include "../../base/sys.h"

struct call_row;
struct stat;

struct signal_stack { /* stack_t */
    void *sp;
    int flags;
    size_t size;
};

struct call {
    const struct call_row *row;
    unsigned long a[6];
    uint64_t *mask;    /* the thread's real signal mask, live again when the call returns */
    bool signal_stack; /* the thread has an alternate signal stack: our own frame is on it */
    struct signal_stack *stack; /* that stack as it will be when the call returns; or NULL */
    unsigned long interrupted;  /* stack pointer of the interrupted code */
    int slot;       /* the stack this handler runs on, see engine/slots.c; -1: none of those */
    bool fast;      /* it came without a signal (fast/): what may wait must be declined */
    const void *sp; /* then: the stack of the program's function, else NULL */
};

/* Stands for "carry it out by the signal": outside the range of results and errors. */
#define CALL_DECLINE ((long)(1UL << 63))

typedef long call_handler(struct call *c);

enum call_intent {
    INTENT_none,
    INTENT_look,
    INTENT_change,
    INTENT_create,
    INTENT_remove,
    INTENT_descriptor
};
enum call_last {
    LAST_follow,
    LAST_nofollow,
    LAST_last,
    LAST_inotify,
    LAST_FLAG_NOFOLLOW = 16,
    LAST_FLAG_FOLLOW = 32
};
#define CALL_CWD    (-1)
#define CALL_NOPATH (-1)

struct call_row {
    uint16_t nr;
    int8_t dirfd, path;
    uint8_t last_how, intent;
    call_handler *run;
};

#define CALL(name, handler, ...) call_handler call_##handler;
#define REFUSE(name, error, why)
#include "../../calls.def"
#undef CALL
#undef REFUSE

#endif
