/* Reading and rewriting the program's code: is this place a system call of the C library, and how
 * it becomes a jump while other threads may be running it.
 *
 * Only the C library's files are touched: compiled code whose stack has the room of any C function.
 * Replaced is the one instruction `mov $nr, %eax` by the one instruction `jmp`, of the same five
 * bytes; the `syscall` after it stays, so a thread that is between the two, or comes to it from
 * elsewhere, traps as before. */
#include "patch.h"

#include "../base/libc.h"
#include "../calls/program/usermem.h"
#include "../engine/plan.h"
#include "fast.h"

#include <sys/mman.h>

#define PAGE        4096UL
#define WINDOW      (16 * PAGE) /* as much as the kernel maps by one fault */
#define MOV_EAX     0xb8
#define MAX_KNOWN   8
#define SYNC_CORE   32 /* MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE */
#define SYNC_ENROLL 64 /* MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE */

/* ---- whose code ---- */

struct known_text {
    uint64_t low, high;
};

static struct known_text known[MAX_KNOWN];
static unsigned n_known;

static bool
is_libc_name(const char *path)
{
    static const char *const prefixes[] = {
        "libc.so.", "libc-2.",  "libpthread.so.", "libpthread-2.", "ld-linux-x86-64.so.",
        "ld-2.",    "ld-musl-", "libc.musl-",     "libc.so"};
    const char *name = path;

    for (const char *p = path; *p; p++)
        if (*p == '/')
            name = p + 1;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            return true;
    return false;
}

static const char *
parse_hex(const char *p, uint64_t *value)
{
    for (*value = 0;; p++) {
        if (*p >= '0' && *p <= '9')
            *value = *value * 16 + (uint64_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            *value = *value * 16 + (uint64_t)(*p - 'a' + 10);
        else
            return p;
    }
}

/* One line of /proc/self/maps. True when it is the one that holds @site and may be rewritten. */
static bool
line_holds(const char *line, uint64_t site, struct known_text *text)
{
    const char *p = parse_hex(line, &text->low);

    if (*p != '-')
        return false;
    p = parse_hex(p + 1, &text->high);
    if (site < text->low || site + SITE_SIZE > text->high)
        return false;
    /* eager is for tests: static ones hold the C library's code too */
    return !strncmp(p, " r-xp ", 6) && (engine.plan->flags & PLAN_EAGER || is_libc_name(p));
}

static bool
find_text(uint64_t site, struct known_text *text)
{
    char line[LPMX_PATH_MAX + 128], buf[2048];
    size_t len = 0;
    bool found = false;
    long n, fd = sys4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return false;
    while (!found && (n = sys3(SYS_read, fd, buf, sizeof(buf))) > 0) {
        for (long i = 0; i < n && !found; i++) {
            if (buf[i] != '\n') {
                len += len < sizeof(line) - 1;
                line[len - 1] = buf[i];
                continue;
            }
            line[len] = '\0';
            len = 0;
            found = line_holds(line, site, text);
        }
    }
    sys1(SYS_close, fd);
    return found;
}

static const struct known_text *
known_of(uint64_t site)
{
    for (unsigned i = 0; i < n_known; i++)
        if (site >= known[i].low && site + SITE_SIZE <= known[i].high)
            return &known[i];
    return NULL;
}

bool
patch_is_libc(uint64_t site)
{
    struct known_text text;

    if (known_of(site))
        return true;
    if (n_known == MAX_KNOWN || !find_text(site, &text))
        return false;
    known[n_known++] = text;
    return true;
}

/* The @site's bytes when they, and one before them, can be read; else NULL. */
static const uint8_t *
site_bytes(uint64_t site)
{
    const uint8_t *p = (const uint8_t *)site;

    return !(site & (PAGE - 1)) || user_readable(p, SITE_SIZE) ? NULL : p;
}

static bool
is_syscall(const uint8_t *p)
{
    return p[0] == 0x0f && p[1] == 0x05;
}

bool
patch_is_call(uint64_t site, uint32_t nr)
{
    const uint8_t *p = site_bytes(site);
    uint32_t operand;

    if (!p)
        return false;
    /* With these prefixes b8 is an instruction on another register or of another length. */
    if ((p[-1] & 0xf0) == 0x40 && (p[-1] & 0x01))
        return false;
    memcpy(&operand, p + 1, sizeof(operand));
    return p[-1] != 0x66 && p[0] == MOV_EAX && operand == nr && is_syscall(p + 5);
}

uint8_t
patch_shared_call(uint64_t site)
{
    static const uint8_t mov_rsp_rax[] = {0x48, 0x8b, 0x44, 0x24};
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                       0x66, 0x67, 0xf0, 0xf2, 0xf3};
    const uint8_t *p = site_bytes(site);

    if (!p || memcmp(p, mov_rsp_rax, sizeof(mov_rsp_rax)) || p[4] > 127 || !is_syscall(p + 5))
        return 0;
    for (size_t i = 0; i < sizeof(prefixes); i++)
        if (p[-1] == prefixes[i])
            return 0;
    return p[4];
}

/* ---- rewriting ---- */

struct quad {
    uint64_t value;
} __attribute__((may_alias));

/* Store @n bytes that lie within one aligned word, in one step that no thread sees half of. */
static void
store_within_word(uint64_t at, const uint8_t *bytes, size_t n)
{
    struct quad *word = (struct quad *)(at & ~7UL), copy = *word;

    memcpy((char *)&copy + (at & 7), bytes, n);
    __atomic_store_n(&word->value, copy.value, __ATOMIC_SEQ_CST);
}

/* Make every thread fetch its instructions anew. */
static int
synchronise_cores(void)
{
    long r = sys3(SYS_membarrier, SYNC_CORE, 0, 0);

    if (r == -EPERM && !sys3(SYS_membarrier, SYNC_ENROLL, 0, 0))
        r = sys3(SYS_membarrier, SYNC_CORE, 0, 0);
    return (int)r;
}

/* Five bytes in two words: threads that come by wait in a loop on the first two meanwhile. The
 * first barrier is tried before anything is changed, since a kernel may not have it. */
static int
store_across_words(uint64_t site, const uint8_t *bytes)
{
    static const uint8_t wait[2] = {0xeb, 0xfe};
    int err = (site & 7) == 7 ? -EINVAL : synchronise_cores();

    if (err)
        return err;
    store_within_word(site, wait, 2);
    synchronise_cores();
    for (unsigned i = 2; i < 5; i++)
        ((volatile uint8_t *)site)[i] = bytes[i];
    synchronise_cores();
    store_within_word(site, bytes, 2);
    return 0;
}

/* The pages around @site that become writable and then are mappings of their own. A fork copies the
 * page table of whatever was ever written to, and an exit takes it apart, entry by entry: so not
 * all of the C library; but every mapping costs them something too: so not a page for each site. A
 * flag that nothing else has keeps the kernel from joining them with their neighbours again. */
static void
window_of(uint64_t site, const struct known_text *text, uint64_t *low, uint64_t *size)
{
    uint64_t first = site & ~(WINDOW - 1), end = ((site + SITE_SIZE) | (WINDOW - 1)) + 1;

    *low = first > text->low ? first : text->low;
    *size = (end < text->high ? end : text->high) - *low;
    sys3(SYS_madvise, *low, *size, MADV_DONTDUMP);
}

int
patch_replace(uint64_t site, uint8_t opcode, uint32_t operand)
{
    const struct known_text *text = known_of(site);
    uint8_t bytes[5] = {opcode};
    uint64_t low, size;
    int err = 0;

    memcpy(bytes + 1, &operand, sizeof(operand));
    if (!text)
        return -EACCES;
    window_of(site, text, &low, &size);
    /* executable all the time: other threads are in there */
    err = (int)sys3(SYS_mprotect, low, size, PROT_READ | PROT_WRITE | PROT_EXEC);
    if (!err && (site & 7) <= 3)
        store_within_word(site, bytes, sizeof(bytes));
    else if (!err)
        err = store_across_words(site, bytes);
    sys3(SYS_mprotect, low, size, PROT_READ | PROT_EXEC);
    return err;
}
