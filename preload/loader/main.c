/* The loader's lives. Started by a user or by Python it starts a container (start.c). Started by
 * its own exec (the state variable is in the environment) it maps the program, becomes its resident
 * engine and jumps; or it enters another container (callee.c), or stands for a command of the host
 * (proxy.c). */
#include "../base/libc.h"
#include "../calls/exec/ptrace.h"
#include "../calls/fakeroot/cred.h"
#include "../calls/proc/exe.h"
#include "../calls/program/pending.h"
#include "../calls/program/root.h"
#include "../calls/program/vfork.h"
#include "../trap/handler.h"
#include "callee.h"
#include "explain.h"
#include "layout.h"
#include "load.h"
#include "proxy.h"
#include "say.h"
#include "start.h"

#include <elf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

HOT_FILE;

static _Noreturn void
die_of_signal(int sig)
{
    struct kernel_sigaction dfl = {0};
    uint64_t set = 1UL << (sig - 1);

    sys4(SYS_rt_sigaction, sig, &dfl, 0, 8);
    sys4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
    sys2(SYS_kill, sys0(SYS_getpid), sig);
    quit(128 + sig);
}

/* ---- second life: become the program ---- */

static void
fix_auxv(Elf64_auxv_t *av, const struct elf_image *main, const struct elf_image *interp,
         const char *execfn)
{
    bool identity = engine.plan->flags & PLAN_IDENTITY;
    struct cred_ids user = {engine.plan->uid, engine.plan->uid, 0, 0};
    struct cred_ids group = {engine.plan->gid, engine.plan->gid, 0, 0};

    if (emulates_root()) {
        user = cred_now()->user;
        group = cred_now()->group;
    }
    for (; av->a_type != AT_NULL; av++) {
        switch (av->a_type) {
        case AT_PHDR:
            av->a_un.a_val = main->phdr;
            break;
        case AT_PHENT:
            av->a_un.a_val = main->phent;
            break;
        case AT_PHNUM:
            av->a_un.a_val = main->phnum;
            break;
        case AT_ENTRY:
            av->a_un.a_val = main->entry;
            break;
        case AT_BASE:
            av->a_un.a_val = interp ? interp->bias : 0;
            break;
        case AT_EXECFN:
            av->a_un.a_val = (uint64_t)execfn;
            break;
        case AT_UID:
        case AT_EUID:
            if (identity)
                av->a_un.a_val = av->a_type == AT_UID ? user.real : user.effective;
            break;
        case AT_GID:
        case AT_EGID:
            if (identity)
                av->a_un.a_val = av->a_type == AT_GID ? group.real : group.effective;
            break;
        case AT_SECURE:
            if (emulates_root())
                av->a_un.a_val = cred_secure();
            break;
        }
    }
}

/* comm, as the kernel sets it: the last part of the file name that was executed. */
static void
set_comm(const char *execfn)
{
    const char *name = execfn;

    for (const char *p = execfn; *p; p++)
        if (*p == '/' && p[1])
            name = p + 1;
    sys2(SYS_prctl, PR_SET_NAME, name);
}

static void
copy_agent(const char *name)
{
    size_t n = strlen(name);

    if (n < sizeof(engine.agent))
        memcpy(engine.agent, name, n + 1);
}

static _Noreturn void
jump(uint64_t *sp, uint64_t entry)
{
    __asm__ volatile("mov %0, %%rsp\n\t"
                     "xor %%edx, %%edx\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "jmp *%1"
                     :
                     : "a"(sp), "c"(entry) /* neither rdx nor rbp, which are cleared */
                     : "memory");
    __builtin_unreachable();
}

COLD static _Noreturn void
die_unmapped(int status, const char *what, const char *host, int err)
{
    if ((err == -EEXIST && explain_nested(what)) || explain_noexec(what, host))
        quit(status);
    die(status, what, err);
}

/* The path that was executed: exec.c gave that of its own file. The kernel keeps it behind the
 * strings of the environment. */
static const char *
executed_path(const Elf64_auxv_t *av)
{
    while (av->a_type != AT_EXECFN && av->a_type != AT_NULL)
        av++;
    return av->a_type == AT_EXECFN ? (const char *)av->a_un.a_val : "";
}

/* SIGTRAP, which the kernel sends to a tracer for an execve, was blocked until now: it arrives at
 * the program's first instruction, with everything in place that breakpoints need. */
static _Noreturn void
leave_to_tracer(const uint64_t *sp, uint64_t entry)
{
    uint64_t mask = 0;

    sys4(SYS_rt_sigprocmask, SIG_SETMASK, 0, &mask, 8);
    trap_leave(sp, entry, mask & ~(1UL << (SIGTRAP - 1)));
}

static _Noreturn void
run_program(uint64_t *sp, Elf64_auxv_t *av, const struct exec_state *state, const char *env_start)
{
    struct environment_span env = {(uint64_t)env_start, (uint64_t)executed_path(av)};
    struct elf_image program, interp;
    bool has_interp = state->interp[0];
    int err = elf_map(state->host, true, &program);

    if (state->fd >= 0)
        sys1(SYS_close, state->fd);
    if (err)
        die_unmapped(126, state->exe, state->host, err);
    if (has_interp) {
        err = elf_map(state->interp, false, &interp);
        if (err == -ENOEXEC)
            die_of_signal(SIGSEGV); /* as the kernel, which has left the caller's image too */
        if (err)
            die_unmapped(127, state->interp, state->interp, err);
    }
    if (program.exec_stack)
        sys3(SYS_mprotect, (uint64_t)sp & ~4095UL, 4096,
             PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
    set_comm(state->execfn);
    pending_start(sp);
    fix_auxv(av, &program, has_interp ? &interp : NULL, state->execfn);
    layout_tell(sp, &env, av, &program);
    if (state->flags & EXEC_TRACED)
        leave_to_tracer(sp, has_interp ? interp.entry : program.entry);
    jump(sp, has_interp ? interp.entry : program.entry);
}

/* ---- entry ---- */

/* Take the state variable out of the environment; its text, or NULL. It is the last entry: exec.c
 * put it there. */
static char *
take_state(char **envp, Elf64_auxv_t **av)
{
    size_t n = 0, aux = 0;
    char *text;

    while (envp[n])
        n++;
    *av = (Elf64_auxv_t *)(envp + n + 1);
    if (!n || strncmp(envp[n - 1], STATE_PREFIX, sizeof(STATE_PREFIX) - 1))
        return NULL;
    text = envp[n - 1] + sizeof(STATE_PREFIX) - 1;
    while ((*av)[aux].a_type != AT_NULL)
        aux++;
    envp[n - 1] = NULL;
    memmove(envp + n, *av, (aux + 1) * sizeof(**av));
    *av = (Elf64_auxv_t *)(envp + n);
    return text;
}

__attribute__((used)) static _Noreturn void
loader_main(uint64_t *sp)
{
    int argc = (int)sp[0];
    char **argv = (char **)(sp + 1), **envp = argv + argc + 1;
    const uint64_t sigtrap = 1UL << (SIGTRAP - 1);
    struct exec_state state;
    Elf64_auxv_t *av;
    const char *env_start = envp[0];
    char *text = take_state(envp, &av);

    if (!text)
        start_plan(argc, argv, envp);
    if (state_parse(text, &state))
        die(125, "the state of an execution", -EBADMSG);
    engine.loader = load_keep(executed_path(av));
    engine.plan_path = load_keep(state.plan);
    engine.exe = load_keep(state.exe);
    engine.interp = load_keep(state.interp);
    copy_agent(state.agent);
    engine.marks_processes = state.flags & EXEC_MARKS_PROCESSES;
    engine.late_filter = (uint8_t)(state.flags / EXEC_LATE_FILTER);
    if (state.flags & EXEC_TRACED) {
        ptrace_mark_traced();
        if (state.life == LIFE_PROXY) /* there will be no program */
            sys4(SYS_rt_sigprocmask, SIG_UNBLOCK, &sigtrap, 0, 8);
    }
    if (state.root[0] && state.life != LIFE_CALLEE)
        root_restore(load_keep(state.root));
    if (state.life == LIFE_PROGRAM) {
        trap_install_handler();
        vfork_mark_process();
    }
    load_plan(engine.plan_path);
    if (emulates_root() && state.life == LIFE_CALLEE)
        cred_start(); /* another container: its root is its own */
    else if (emulates_root() && cred_restore(state.cred))
        die(125, "the credentials of an execution", -EBADMSG);
    engine.fs.proc_exe = proc_exe_path;
    if (state.life == LIFE_CALLEE)
        callee_run(&state, argv, envp);
    if (state.life == LIFE_PROXY)
        proxy_run(&state, argv, envp);
    run_program(sp, av, &state, env_start);
}

__asm__(".text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    mov %rsp, %rdi\n"
        "    xor %ebp, %ebp\n"
        "    lea slot_first_top(%rip), %rsp\n" /* the pages that traps will use too */
        "    call loader_main\n");
