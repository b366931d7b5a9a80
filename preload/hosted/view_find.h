/* A path looked up in a view alone. */
#ifndef LPMX_VIEW_FIND_H
#define LPMX_VIEW_FIND_H

#include "../view/view.h"

/* The node of @path in @view from its root, symlinks followed inside the view (the last one if
 * @follow or before a trailing slash, 40 in all), or -errno. In view_find.c. */
VIEW_API int64_t view_find(const struct view *view, const char *path, size_t len, int follow);

#endif
