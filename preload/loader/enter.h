/* Entering a container before its first program. */
#ifndef LPMX_ENTER_H
#define LPMX_ENTER_H

/* The container of the engine's plan becomes ready for programs: every bind has a name. */
void make_mount_points(void);
void enter_cwd(const char *cwd);
/* Stay in the caller's directory, which is @cwd on the host. What the container shows at that path
 * must be it: a relative name means the same file on both sides, or nothing is started. The root is
 * let through, since daemons stand there without meaning it. */
void stay_here(const char *cwd);

#endif
