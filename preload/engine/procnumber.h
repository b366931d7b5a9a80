/* Numbers in files of /proc. */
#ifndef LPMX_PROCNUMBER_H
#define LPMX_PROCNUMBER_H

/* The number that begins behind @blanks blanks (behind the command's name, if there is one) in a
 * file of /proc; -1. */
long proc_number(const char *path, unsigned blanks);

#endif
