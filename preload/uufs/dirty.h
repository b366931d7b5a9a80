/* A shared Bloom filter of upper names: a clear bit proves absence, so the upper is not probed. Its
 * head counts what else the processes of a container must know of each other. */
#ifndef LPMX_DIRTY_H
#define LPMX_DIRTY_H

#include "uufs.h"

/* Bytes of a map that has a head: no name's. */
#define UUFS_DIRTY_HEAD 16
/* Bits of the first word: somebody writes whose marks are not seen here; the upper has a name that
 * is another on the disk; it has a directory that its owner may not search. */
#define UUFS_DIRTY_ELSEWHERE 1u
#define UUFS_DIRTY_ESCAPES   2u
#define UUFS_DIRTY_CLOSED    4u

/* May the upper hold the name @ctr? It is set before the name appears. */
bool uufs_dirty_test(const struct uufs *fs, const char *ctr, size_t len);
void uufs_dirty_set(const struct uufs *fs, const char *ctr, size_t len);
/* May anything be in the upper below the directory @ctr? */
bool uufs_dirty_test_tree(const struct uufs *fs, const char *ctr, size_t len);
void uufs_dirty_set_tree(const struct uufs *fs, const char *ctr, size_t len);
/* May the directory @ctr have the opaque mark? It is set before the mark is made. */
bool uufs_dirty_test_opaque(const struct uufs *fs, const char *ctr, size_t len);
void uufs_dirty_set_opaque(const struct uufs *fs, const char *ctr, size_t len);

/* Has the upper, as far as we saw, a directory that its owner may not search? */
bool uufs_dirty_has_closed(const struct uufs *fs);
void uufs_dirty_set_closed(const struct uufs *fs); /* before it has */
/* May a path of the upper hold a name that is another on the disk? */
bool uufs_dirty_has_escapes(const struct uufs *fs);

/* A larger file is not copied up for a watch's sake. */
#define WATCH_COPIES_MAX (16 << 20)
/* Somebody watches the directory @ctr: what is removed from it has to have been in the upper. */
void uufs_watched_set(const struct uufs *fs, const char *ctr, size_t len);
bool uufs_watched_test(const struct uufs *fs, const char *ctr, size_t len);
/* 1 + the number of renames and removals of directories of the upper; 0: not known. */
uint64_t uufs_moves(const struct uufs *fs);
void uufs_moves_add(const struct uufs *fs); /* before one leaves, and after */

#endif
