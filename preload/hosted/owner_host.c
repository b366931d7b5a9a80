/* The records of the upper's files, for Python. */
#include "owner_host.h"

#include "../base/libc.h"
#include "../uufs/change/owner.h"

static int
host_file(const char *work, const char *path, struct uufs *fs, struct extra_file *file)
{
    *fs = (struct uufs){.work = work, .work_len = (uint32_t)strlen(work)};
    *file = (struct extra_file){.path = path};
    return extra_file_stat(file);
}

int
owner_host_read(const char *work, const char *path, struct owner_shown *shown)
{
    struct uufs fs;
    struct extra_file file;
    struct owner owner;
    int r = host_file(work, path, &fs, &file);

    if (r)
        return r;
    r = owner_read(&fs, &file, &owner);
    if (r < 0)
        return r;
    if (r)
        owner_apply(&owner, &file.st);
    *shown = (struct owner_shown){(uint32_t)r, file.st.st_uid, file.st.st_gid, file.st.st_mode,
                                  (uint32_t)file.st.st_rdev};
    return 0;
}

long
owner_host_list(const char *work, const char *path, char *list, size_t size)
{
    struct uufs fs;
    struct extra_file file;
    int err = host_file(work, path, &fs, &file);

    return err ? err : extra_list_beside(&fs, &file, list, size);
}

long
owner_host_get(const char *work, const char *path, const char *name, void *value, size_t size)
{
    struct uufs fs;
    struct extra_file file;
    int err = host_file(work, path, &fs, &file);

    return err ? err : extra_get(&fs, &file, name, value, size);
}
