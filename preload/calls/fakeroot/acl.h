/* POSIX ACLs under root emulation. The disk keeps them, for the kernel lets a file's owner set any;
 * but whom they speak for is asked here, since to the kernel every program is the file's owner. The
 * owner's own entry on the disk never closes the file to us: what it shows is in the remembered
 * mode. acl(5) and the kernel's posix_acl_permission have the rules, linux/posix_acl_xattr.h the
 * form of the attributes. */
#ifndef LPMX_ACL_H
#define LPMX_ACL_H

#include "../../base/sys.h"

#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_MAX     2048 /* bytes of one that is judged or set: 255 entries */

struct acl_question {
    const struct stat *st; /* what is shown of the file */
    unsigned want;         /* enum permission */
    uint32_t uid, gid;     /* of whom; the further groups are the program's */
};

/* May somebody who is not the owner of the file at @path, or where it points (@follow), do that?
 * 0, -EACCES, or 1: there is no ACL to ask. */
int acl_check(const char *path, bool follow, const struct acl_question *q);
/* The access ACL @value of @size bytes is about to be set on a file of type @type: open the owner's
 * entry on the disk, and tell the mode that it gives the file. -EINVAL when it is none. */
int acl_open_owner(void *value, size_t size, uint32_t type, uint32_t *mode);
/* The access ACL @value as the disk has it: show the owner's entry by @mode. */
void acl_show_owner(void *value, size_t size, uint32_t mode);

#endif
