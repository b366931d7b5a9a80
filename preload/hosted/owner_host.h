/* The records of the upper's files, for Python. */
#ifndef LPMX_OWNER_HOST_H
#define LPMX_OWNER_HOST_H

#include "../view/view.h"

struct owner_shown { /* for Python: what is remembered of one file */
    uint32_t known, uid, gid, mode, rdev;
};

/* What is remembered of the file at @path of the upper that belongs to the work folder @work. known
 * is 0 when nothing is: then uid, gid, mode are the disk's. 0 or -errno. */
VIEW_API int owner_host_read(const char *work, const char *path, struct owner_shown *shown);
/* The extras kept beside the file: names, each with its NUL. Their length or -errno. */
VIEW_API long owner_host_list(const char *work, const char *path, char *list, size_t size);
/* The value of an extra: its length or -errno. */
VIEW_API long owner_host_get(const char *work, const char *path, const char *name, void *value,
                             size_t size);

#endif
