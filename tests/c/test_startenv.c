/* The environment of a start without Python: lists of names, what wins, what a file may hold. */
#include "../../preload/loader/startenv.c"

#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
names_are_exact_unless_they_end_in_a_star(void)
{
    CHECK(startenv_names("A:OMP_*:B", "A=1"));
    CHECK(startenv_names("A:OMP_*:B", "OMP_NUM_THREADS=1"));
    CHECK(startenv_names("A:OMP_*:B", "B="));
    CHECK(!startenv_names("A:OMP_*:B", "AB=1"));
    CHECK(!startenv_names("AB", "A=1"));
    CHECK(!startenv_names("A:OMP_*:B", "OMP=1"));
    CHECK(!startenv_names("", "A=1"));
    CHECK(!startenv_names(NULL, "A=1"));
    CHECK(!startenv_names("::", "A=1"));
    CHECK(startenv_names("*", "A=1"));
}

static void
passed_variables_fill_in_and_taken_ones_win(void)
{
    char *base[] = {"PATH=/bin", "LANG=C", "JOB=old", NULL};
    char *caller[] = {"LANG=de", "JOB=new", "EXTRA=1", "SECRET=x", "TERM=xterm", NULL};
    char *out[8];
    struct startenv want = {.pass = "LANG:EXTRA", .take = "JOB"};

    CHECK(startenv_merge(&want, base, caller, out, 8) == 0);
    CHECK(!strcmp(out[0], "PATH=/bin"));
    CHECK(!strcmp(out[1], "LANG=C"));
    CHECK(!strcmp(out[2], "JOB=new"));
    CHECK(!strcmp(out[3], "EXTRA=1"));
    CHECK(!strcmp(out[4], "TERM=xterm"));
    CHECK(!out[5]);
    CHECK(startenv_merge(&want, base, caller, out, 5) == -E2BIG);
}

static int
read_text(const char *text, size_t size, char **out, size_t cap)
{
    char path[] = "/tmp/startenv-XXXXXX";
    int fd = mkstemp(path), r;

    CHECK(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    close(fd);
    r = startenv_read(path, out, cap);
    unlink(path);
    return r;
}

static void
a_file_holds_entries_that_end_in_nul(void)
{
    char *out[4];

    CHECK(read_text("A=1\0B=x\ny\0", 10, out, 4) == 0);
    CHECK(!strcmp(out[0], "A=1") && !strcmp(out[1], "B=x\ny") && !out[2]);
    CHECK(read_text("", 0, out, 4) == 0 && !out[0]);
    CHECK(read_text("A=1", 3, out, 4) == -EBADMSG);
    CHECK(read_text("A\0", 2, out, 4) == -EBADMSG);
    CHECK(read_text("=1\0", 3, out, 4) == -EBADMSG);
    CHECK(read_text("A=1\0\0", 5, out, 4) == -EBADMSG);
    CHECK(read_text("A=1\0B=1\0C=1\0D=1\0", 16, out, 4) == -E2BIG);
    CHECK(startenv_read("/nonexistent/file", out, 4) == -ENOENT);
}

int
main(void)
{
    names_are_exact_unless_they_end_in_a_star();
    passed_variables_fill_in_and_taken_ones_win();
    a_file_holds_entries_that_end_in_nul();
    return check_done("startenv");
}
