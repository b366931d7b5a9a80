/* A lock-free pool of stacks, in banks that are mapped when first needed. */
#include "slots.h"
#include "../engine.h"

#include <sys/mman.h>

#define BANK  64
#define BANKS 16

static int busy[BANK * BANKS];
static char *banks[BANKS];

static bool
bank_ready(int bank)
{
    char *at = __atomic_load_n(&banks[bank], __ATOMIC_ACQUIRE), *none = NULL;
    long r;

    if (at)
        return true;
    r = sys6(SYS_mmap, 0, BANK * SLOT_SIZE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(r))
        return false;
    if (!__atomic_compare_exchange_n(&banks[bank], &none, (char *)r, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        sys2(SYS_munmap, r, BANK * SLOT_SIZE);
    return true;
}

int
slot_take(void)
{
    for (;;) {
        for (int i = 0; i < BANK * BANKS; i++) {
            int none = 0;

            if (__atomic_load_n(&busy[i], __ATOMIC_RELAXED) || !bank_ready(i / BANK))
                continue;
            if (__atomic_compare_exchange_n(&busy[i], &none, 1, false, __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED))
                return i;
        }
        sys0(SYS_sched_yield);
    }
}

void *
slot_stack(int slot)
{
    return banks[slot / BANK] + (slot % BANK + 1) * SLOT_SIZE - 64;
}

void *
slot_signal_stack(int slot)
{
    return banks[slot / BANK] + slot % BANK * SLOT_SIZE;
}

void
slot_give(int slot)
{
    __atomic_store_n(&busy[slot], 0, __ATOMIC_RELEASE);
}

int *
slot_word(int slot)
{
    return &busy[slot];
}
