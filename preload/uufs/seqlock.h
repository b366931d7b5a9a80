/* A number beside each entry of a table, odd while the entry is written: readers take no lock, so
 * that they may be interrupted and left at any point. */
#ifndef LPMX_SEQLOCK_H
#define LPMX_SEQLOCK_H

#include "../base/sys.h"

#include <stdbool.h>
#include <stdint.h>

/* False when another writes already. May be interrupted: an entry that a signal handler leaves half
 * written by longjmp is lost to all, which only costs time. */
static inline bool
sequence_begin(uint32_t *sequence)
{
    uint32_t before = __atomic_load_n(sequence, __ATOMIC_RELAXED);

    if (before & 1 || !__atomic_compare_exchange_n(sequence, &before, before + 1, false,
                                                   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    __atomic_thread_fence(__ATOMIC_RELEASE); /* the odd number is seen before what follows */
    return true;
}

static inline void
sequence_end(uint32_t *sequence)
{
    __atomic_store_n(sequence, *sequence + 1, __ATOMIC_RELEASE);
}

/* Was the entry whole when @before was read, and is it since? */
static inline bool
sequence_held(const uint32_t *sequence, uint32_t before)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return !(before & 1) && __atomic_load_n(sequence, __ATOMIC_RELAXED) == before;
}

/* A slot for the path @text in a table of @n, a power of two. */
static inline unsigned
sequence_slot(const char *text, size_t len, unsigned n)
{
    uint64_t sum = len, word;

    for (; len >= sizeof(word); text += sizeof(word), len -= sizeof(word)) {
        __builtin_memcpy(&word, text, sizeof(word));
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
        sum ^= sum >> 32;
    }
    for (; len; text++, len--)
        sum = (sum ^ (unsigned char)*text) * 0x9e3779b97f4a7c15u;
    return (unsigned)(sum >> 40) % n;
}

#endif
