/* A lock-free pool of stacks: a few that are always there, more in banks that are mapped when
 * needed. Where no memory is to be had for a bank (RLIMIT_AS), callers wait for one of the few. */
#include "slots.h"

#include "engine.h"

#include <sys/mman.h>

HOT_FILE;

#define ALWAYS 4
#define BANK   16
#define BANKS  64

/* the thread that uses it; 0: free */
HOT static int busy_always[ALWAYS];
static int busy_banks[BANK * BANKS];
static char *banks[BANKS];

/* The first stack, which the loader starts on, and whose top lies where its other hot data does
 * (loader/lpmx-exec.ld); the rest of those that are always there. */
extern char first_stack[SLOT_SIZE];
__asm__(".pushsection .bss.hot.astack, \"aw\", @nobits\n"
        ".globl first_stack\n"
        ".hidden first_stack\n"
        ".globl slot_first_top\n"
        ".hidden slot_first_top\n"
        "first_stack:\n"
        "    .zero 262144 - 64\n"
        "slot_first_top:\n"
        "    .zero 64\n"
        ".popsection\n");
_Static_assert(SLOT_SIZE == 262144, "as the assembly has it");
static char more_stacks[(ALWAYS - 1) * SLOT_SIZE] __attribute__((aligned(64)));

static char *
slot_base(int slot)
{
    if (slot == 0)
        return first_stack;
    if (slot < ALWAYS)
        return more_stacks + (unsigned long)(slot - 1) * SLOT_SIZE;
    slot -= ALWAYS;
    return banks[slot / BANK] + (unsigned long)(slot % BANK) * SLOT_SIZE;
}

char *
stacks_map(char **where, unsigned long size)
{
    char *at = __atomic_load_n(where, __ATOMIC_ACQUIRE), *none = NULL;
    long r;

    if (at)
        return at;
    r = sys6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
             -1, 0);
    if (sys_failed(r))
        return NULL;
    if (__atomic_compare_exchange_n(where, &none, (char *)r, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return (char *)r;
    sys2(SYS_munmap, r, size);
    return none;
}

static bool
bank_ready(int bank)
{
    return stacks_map(&banks[bank], BANK * SLOT_SIZE);
}

int *
slot_word(int slot)
{
    return slot < ALWAYS ? &busy_always[slot] : &busy_banks[slot - ALWAYS];
}

static bool
take(int slot, int tid)
{
    int none = 0;

    return __atomic_compare_exchange_n(slot_word(slot), &none, tid, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

static bool
within(unsigned long sp, const char *area, unsigned long size)
{
    return sp - (unsigned long)area < size;
}

/* A signal handler that left a waiting call by longjmp never came back to give its stack. When a
 * thread was not interrupted on one of these stacks, none of those it once took is in use. */
static void
reclaim(int tid, unsigned long sp)
{
    if (within(sp, first_stack, sizeof(first_stack)) ||
        within(sp, more_stacks, sizeof(more_stacks)))
        return;
    for (int bank = 0; bank < BANKS && banks[bank]; bank++)
        if (within(sp, banks[bank], BANK * SLOT_SIZE))
            return;
    for (int i = 0; i < ALWAYS + BANK * BANKS; i++)
        if (__atomic_load_n(slot_word(i), __ATOMIC_RELAXED) == tid)
            slot_give(i);
}

int
slot_take(int tid, unsigned long sp)
{
    for (;;) {
        for (int i = 0; i < ALWAYS; i++)
            if (take(i, tid))
                return i;
        reclaim(tid, sp);
        for (int bank = 0; bank < BANKS && bank_ready(bank); bank++)
            for (int i = 0; i < BANK; i++)
                if (take(ALWAYS + bank * BANK + i, tid))
                    return ALWAYS + bank * BANK + i;
        sys0(SYS_sched_yield);
    }
}

void *
slot_stack(int slot)
{
    return slot_base(slot) + SLOT_SIZE - 64;
}

void *
slot_signal_stack(int slot)
{
    return slot_base(slot);
}

void
slot_give(int slot)
{
    __atomic_store_n(slot_word(slot), 0, __ATOMIC_RELEASE);
}
