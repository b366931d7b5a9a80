/* The record of a file's owner: see owner.h. */
#include "owner.h"

#include "../../base/str.h"
#include "../dirty.h"

#include <sys/stat.h>

static size_t
format_owner(char *text, const struct owner *o)
{
    size_t n = 0;

    text[n++] = '1';
    text[n++] = ' ';
    n += str_number(text + n, o->uid, 10);
    text[n++] = ' ';
    n += str_number(text + n, o->gid, 10);
    text[n++] = ' ';
    n += str_number(text + n, o->mode, 8);
    text[n++] = ' ';
    n += str_number(text + n, o->disk, 8);
    text[n++] = ' ';
    n += str_number(text + n, o->rdev, 10);
    return n;
}

static bool
parse_owner(const char *text, struct owner *o)
{
    uint32_t version;

    return str_take_number(&text, 10, &version) && version == 1 &&
           str_take_number(&text, 10, &o->uid) && str_take_number(&text, 10, &o->gid) &&
           str_take_number(&text, 8, &o->mode) && str_take_number(&text, 8, &o->disk) &&
           str_take_number(&text, 10, &o->rdev);
}

int
owner_read(const struct uufs *fs, const struct extra_file *file, struct owner *owner)
{
    char text[OWNER_TEXT_MAX + 1];
    long n = extra_get(fs, file, OWNER_NAME, text, OWNER_TEXT_MAX);

    if (n < 0)
        return n == -ENODATA || n == -ERANGE ? 0 : (int)n;
    text[n] = '\0';
    return parse_owner(text, owner);
}

int
owner_write(const struct uufs *fs, const struct extra_file *file, const struct owner *owner)
{
    char text[OWNER_TEXT_MAX];

    if (S_ISCHR(owner->mode) || S_ISBLK(owner->mode))
        uufs_dirty_set(fs, OWNER_DEVICES, sizeof(OWNER_DEVICES) - 1);
    return extra_set(fs, file, OWNER_NAME, text, format_owner(text, owner));
}

uint32_t
owner_disk_mode(uint32_t disk_type, uint32_t mode)
{
    switch (disk_type) {
    case S_IFDIR:
        return S_IFDIR | (mode & 01777) | 0700;
    case S_IFLNK:
        return S_IFLNK | 0777;
    default:
        return disk_type | (mode & 0777) | 0600 | (mode & 0111 ? 0100 : 0);
    }
}

void
owner_apply(const struct owner *owner, struct stat *st)
{
    st->st_uid = owner->uid;
    st->st_gid = owner->gid;
    if (owner->disk == st->st_mode)
        st->st_mode = owner->mode;
    else
        st->st_mode = (owner->mode & S_IFMT) | (st->st_mode & 07777);
    st->st_rdev = owner->rdev;
}

int
owner_of_node(const struct uufs *fs, const struct view_node *n, const char *temp, uint32_t disk)
{
    struct owner owner = {n->tar_uid, n->tar_gid, n->tar_mode, disk, n->rdev};
    struct extra_file file = {.path = temp};
    int err;

    if (!n->tar_uid && !n->tar_gid && (n->tar_mode == disk || S_ISLNK(disk)))
        return 0;
    err = extra_file_stat(&file);
    return err ? err : owner_write(fs, &file, &owner);
}
