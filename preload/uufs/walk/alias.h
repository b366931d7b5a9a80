/* The other names of the store's places.
 *
 * The plan has one name for the upper, for each store and for each bind: the one that the user
 * gave. The kernel may report another (getcwd, /proc/self/fd/N): a home is a symlink on the way to
 * the real one, a file system is mounted in two places, a directory was renamed since. What a
 * directory of the store is must not depend on its name, or a write meant for the container lands
 * in an image. So a name that looks like a place of the store (a layer's id and "fs", the
 * container's id and "upper") is compared with that place by inode. Names that look like none cost
 * a look at their components, no system call. */
#ifndef LPMX_ALIAS_H
#define LPMX_ALIAS_H

#include "../uufs.h"

#define ALIAS_ID_LEN 64 /* a layer's id: the hex digits of its SHA-256 */

/* The next component of @path, from @path on, that can be a layer's id; NULL: none. */
const char *alias_next_id(const char *path);
/* Is the directory of host path @host that ends with the component "fs" behind @id a layer's tree,
 * of this plan or of one of its stores? */
bool alias_is_layer(const struct uufs *fs, const char *host, const char *id);
/* Is host path @host, found below a bind, a part of a layer in one of the stores? @present: the
 * name exists, so that it is a change to take it away. */
bool alias_guards(const struct uufs *fs, const char *host, bool present);
/* What follows in @host behind another name of the directory @place, or NULL. */
const char *alias_below(const char *host, const char *place, size_t len);
/* The innermost bind of a directory that holds @host by the name the kernel has for its source, and
 * the length of that name; -1: none. */
int alias_bind(const struct uufs *fs, const char *host, uint32_t *src_len);

#endif
