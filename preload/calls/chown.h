/* What ownership.c and chown.c share. */
#ifndef LPMX_CHOWN_H
#define LPMX_CHOWN_H

#include "ownership.h"

/* Make of the disk's @st of an upper file what is shown. */
void ownership_show_upper(const struct owner_file *file, struct stat *st);
/* Bring disk and record of an upper file to @shown. file->st must be fresh. */
int ownership_store(const struct owner_file *file, const struct stat *shown);
bool ownership_in_upper(const char *host);

#endif
