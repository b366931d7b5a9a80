/* What the kernel knows of the program's memory is what it mapped itself: the loader. It is told
 * of the program, for debuggers, core dumps and /proc/PID/auxv, stat and statm. Where it cannot be
 * told (built without CONFIG_CHECKPOINT_RESTORE), they see the loader's. */
#include "layout.h"

#include <sys/prctl.h>

HOT_FILE;

void
layout_tell(const uint64_t *sp, const struct environment_span *env, const Elf64_auxv_t *av,
            const struct elf_image *program)
{
    struct prctl_mm_map map = {.start_code = program->code,
                               .end_code = program->code_end,
                               .start_data = program->data,
                               .end_data = program->data_end,
                               .start_stack = (uint64_t)sp,
                               .arg_start = sp[1],
                               .arg_end = env->start,
                               .env_start = env->start,
                               .env_end = env->end,
                               .auxv = (void *)av,
                               .exe_fd = (uint32_t)-1};
    size_t n = 0;

    while (av[n].a_type != AT_NULL)
        n++;
    map.auxv_size = (uint32_t)((n + 1) * sizeof(*av));
    map.start_brk = map.brk = (uint64_t)sys1(SYS_brk, 0); /* nobody has moved it yet */
    sys5(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0);
}
