/* Stacks for the handler: the interrupted stack may be a goroutine's of 2 KiB. */
#ifndef LPMX_SLOTS_H
#define LPMX_SLOTS_H

#define SLOT_SIZE (256UL * 1024)
/* The low end of a stack, for handlers of the program that run meanwhile. */
#define SLOT_SIGNAL_SIZE (64UL * 1024)

/* The index of a free slot. It waits only when a thousand handlers are blocked at once. @tid is the
 * caller, @sp where it was interrupted. */
int slot_take(int tid, unsigned long sp);
/* The top of its stack. */
void *slot_stack(int slot);
void *slot_signal_stack(int slot);
void slot_give(int slot);
/* Memory for stacks, mapped for the first who needs it; NULL when none is to be had. */
char *stacks_map(char **where, unsigned long size);
/* Zero means free: exec.c lets the kernel clear it when a vfork child leaves our memory. */
int *slot_word(int slot);

#endif
