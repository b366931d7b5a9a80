/* What one program's start tells the next image of the same process:
 * "LPMX_EXEC=fd,life,flags,command,len,...,len:plan exe host interp execfn cred agent cwd root" in
 * one environment string. Lengths, because paths may hold any byte. */
#include "execstate.h"

#include "../base/libc.h"
#include "../base/str.h"

HOT_FILE;

static int
append_number(char *buf, size_t cap, size_t *len, uint64_t value, char end)
{
    char digits[24];
    size_t n = str_decimal(digits, value);

    digits[n] = end;
    return str_append(buf, cap, len, digits, n + 1);
}

int
state_format(const struct exec_state *s, char *buf, size_t cap)
{
    const char *parts[] = {s->plan, s->exe,   s->host, s->interp, s->execfn,
                           s->cred, s->agent, s->cwd,  s->root};
    size_t len = 0;
    int err = str_append(buf, cap, &len, STATE_PREFIX, sizeof(STATE_PREFIX) - 1);

    if (!err)
        err = append_number(buf, cap, &len, (uint64_t)(s->fd + 1), ',');
    if (!err)
        err = append_number(buf, cap, &len, (uint64_t)s->life, ',');
    if (!err)
        err = append_number(buf, cap, &len, (uint64_t)s->flags, ',');
    if (!err)
        err = append_number(buf, cap, &len, (uint64_t)s->command, ',');
    for (size_t i = 0; i < ARRAY_LEN(parts) && !err; i++)
        err = append_number(buf, cap, &len, strlen(parts[i]), i + 1 < ARRAY_LEN(parts) ? ',' : ':');
    for (size_t i = 0; i < ARRAY_LEN(parts) && !err; i++)
        err = str_append(buf, cap, &len, parts[i], strlen(parts[i]));
    return err ? -E2BIG : 0;
}

static long
parse_number(const char **p, char end)
{
    long value = 0;

    if (**p < '0' || **p > '9')
        return -1;
    while (**p >= '0' && **p <= '9' && value < 1 << 20)
        value = value * 10 + *(*p)++ - '0';
    return *(*p)++ == end ? value : -1;
}

int
state_parse(char *text, struct exec_state *s)
{
    const char **parts[] = {&s->plan, &s->exe,   &s->host, &s->interp, &s->execfn,
                            &s->cred, &s->agent, &s->cwd,  &s->root};
    const char *p = text;
    long fd = parse_number(&p, ','), life = parse_number(&p, ','), flags = parse_number(&p, ','),
         command = parse_number(&p, ',');
    long len[ARRAY_LEN(parts)];
    size_t total = 0;
    char *at;

    if (fd < 0 || life < 0 || life > LIFE_PROXY || flags < 0 || command < 0)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        len[i] = parse_number(&p, i + 1 < ARRAY_LEN(parts) ? ',' : ':');
        if (len[i] < 0)
            return -EINVAL;
        total += (size_t)len[i];
    }
    if (strlen(p) != total)
        return -EINVAL;
    /* make room for the terminating NULs by moving each part down over the numbers */
    at = text;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        memmove(at, p, (size_t)len[i]);
        at[len[i]] = '\0';
        *parts[i] = at;
        at += len[i] + 1;
        p += len[i];
    }
    s->fd = (int)fd - 1;
    s->life = (int)life;
    s->flags = (int)flags;
    s->command = (int)command;
    return 0;
}
