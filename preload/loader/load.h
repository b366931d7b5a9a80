/* The plan and the strings of a start become the engine's. */
#ifndef LPMX_LOAD_H
#define LPMX_LOAD_H

/* A copy in the engine's room: the state's own text is in the environment, which programs write
 * over. */
const char *load_keep(const char *text);
/* Make the plan at @path the engine's. */
void load_plan(const char *path);

#endif
