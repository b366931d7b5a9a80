/* SIGSYS: where a trapped call arrives, in the thread that made it. The call is carried out here
 * with the program's own rights and the answer is put into the saved registers; nothing else of
 * them changes. */
#include "handler.h"

#include "../calls/program/pending.h"
#include "../calls/run.h"
#include "../calls/table.h"
#include "../engine/engine.h"
#include "../engine/slots.h"
#include "../fast/choose.h"

#include <signal.h>

HOT_FILE;

#define SYS_SECCOMP_CODE 1 /* si_code of a filter's trap */
#define SIGSYS_NR        31
#define SA_FLAGS                                                                                   \
    (0x04000000UL /* SA_RESTORER */ | 0x4 /* SA_SIGINFO */ | 0x08000000 /* SA_ONSTACK */)

struct trap_info { /* siginfo_t of a SIGSYS */
    int signo, error, code, pad;
    void *address;
    int nr;
    unsigned arch;
};

struct trap_context { /* the kernel's struct ucontext */
    unsigned long flags;
    void *link;
    struct signal_stack stack;
    unsigned long r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
    unsigned long eflags, segments, error, trap_number, old_mask, cr2;
    void *fpu;
    unsigned long reserved[8];
    uint64_t mask;
};

_Static_assert(offsetof(struct trap_context, mask) == 296, "struct ucontext of x86-64");

void trap_on_stack(struct trap_context *context, int nr, int slot, void *stack);
void trap_restore(void);

__asm__(".text\n"
        ".globl trap_on_stack\n"
        ".hidden trap_on_stack\n"
        "trap_on_stack:\n"
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    mov %rcx, %rsp\n"
        "    call trap_run\n"
        "    mov %rbp, %rsp\n"
        "    pop %rbp\n"
        "    ret\n"
        ".globl trap_restore\n"
        ".hidden trap_restore\n"
        "trap_restore:\n"
        "    mov $15, %eax\n"
        "    syscall\n");

__attribute__((used)) static void
trap_run(struct trap_context *u, int nr, int slot)
{
    struct call c = {
        .row = call_find(nr),
        .a = {u->rdi, u->rsi, u->rdx, u->r10, u->r8, u->r9},
        .mask = &u->mask,
        .signal_stack = u->stack.size && !(u->stack.flags & SS_DISABLE),
        .slot = slot,
        .stack = &u->stack,
        .interrupted = u->rsp,
    };

    u->rax = (unsigned long)(c.row ? call_run(&c) : -ENOSYS);
    choose_note(u->rip, nr);
    pending_leave(u->mask, u->rsp);
}

/* A SIGSYS that is not the answer to one of our traps belongs to the program: its own filter's, or
 * a kill. */
static void
forward(int sig, struct trap_info *info, struct trap_context *context)
{
    const struct kernel_sigaction *own = &engine.sigsys;
    void (*handler)(int, void *, void *) = (void (*)(int, void *, void *))own->handler;

    if ((unsigned long)own->handler == 1 /* SIG_IGN */)
        return;
    if (own->handler) {
        handler(sig, info, context);
        return;
    }
    struct kernel_sigaction dfl = {0};

    sys4(SYS_rt_sigaction, SIGSYS_NR, &dfl, 0, 8);
    context->mask &= ~(1UL << (SIGSYS_NR - 1));
    sys3(SYS_tgkill, sys0(SYS_getpid), sys0(SYS_gettid), SIGSYS_NR);
}

__attribute__((used)) static void
trap_handler(int sig, struct trap_info *info, struct trap_context *context)
{
    int slot;

    if (info->code != SYS_SECCOMP_CODE || !call_find(info->nr)) {
        forward(sig, info, context);
        return;
    }
    slot = slot_take((int)sys0(SYS_gettid), context->rsp);
    trap_on_stack(context, info->nr, slot, slot_stack(slot));
    slot_give(slot);
}

#define UC_KNOWS_SS   6                       /* UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
#define USER_SEGMENTS (0x33UL | 0x2bUL << 48) /* cs and ss */
#define EFLAGS_START  0x202UL

/* As the return of a signal handler, which sets registers and mask together. */
COLD _Noreturn void
trap_leave(const void *sp, uint64_t entry, uint64_t mask)
{
    struct trap_context u = {.flags = UC_KNOWS_SS,
                             .stack = {.flags = SS_DISABLE},
                             .rsp = (unsigned long)sp,
                             .rip = entry,
                             .eflags = EFLAGS_START,
                             .segments = USER_SEGMENTS,
                             .mask = mask};

    __asm__ volatile("mov %0, %%rsp\n\t"
                     "jmp trap_restore"
                     :
                     : "r"(&u)
                     : "memory");
    __builtin_unreachable();
}

void
trap_install_handler(void)
{
    struct kernel_sigaction sa = {(void *)trap_handler, SA_FLAGS, (void *)trap_restore, ~0UL};
    uint64_t sigsys = 1UL << (SIGSYS_NR - 1);

    sys4(SYS_rt_sigaction, SIGSYS_NR, &sa, 0, 8);
    sys4(SYS_rt_sigprocmask, 1 /* SIG_UNBLOCK */, &sigsys, 0, 8);
}
