/* Walks through the everyday file calls of a libc and prints one line each, the same on every
 * correct system.
 *
 * usage: files DIRECTORY     (an empty, writable directory) */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
report(const char *what, int status)
{
    printf("%s: %s\n", what, status < 0 ? strerror(errno) : "ok");
}

static void
report_image(void)
{
    char line[64] = "unreadable\n";
    FILE *file = fopen("/etc/lpmx-image", "r");

    if (file == NULL || fgets(line, sizeof(line), file) == NULL)
        perror("/etc/lpmx-image");
    printf("image: %s", line);
    if (file != NULL)
        fclose(file);
}

static int
write_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0640);

    if (fd < 0)
        return -1;
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return -1;
    return close(fd);
}

static void
report_listing(void)
{
    int count = 0;
    DIR *directory = opendir(".");
    struct dirent *entry;

    while (directory != NULL && (entry = readdir(directory)) != NULL)
        count += entry->d_name[0] != '.';
    printf("entries: %d\n", count);
    if (directory != NULL)
        closedir(directory);
}

int
main(int argc, char **argv)
{
    char buffer[4096] = "";
    struct stat status = {0};

    report_image();
    if (argc < 2 || chdir(argv[1]) < 0) {
        perror("chdir");
        return 1;
    }
    printf("cwd: %s\n", getcwd(buffer, sizeof(buffer)) != NULL ? buffer : strerror(errno));
    report("create", write_file("one", "text"));
    report("create again", write_file("one", "text"));
    report("stat", stat("one", &status));
    printf("size %lld, mode %o\n", (long long)status.st_size, (unsigned)status.st_mode & 0777);
    report("link", link("one", "two"));
    report("rename", rename("two", "three"));
    report("symlink", symlink("three", "four"));
    memset(buffer, 0, sizeof(buffer));
    report("readlink", (int)readlink("four", buffer, sizeof(buffer) - 1));
    printf("target: %s\n", buffer);
    report("mkdir", mkdir("directory", 0755));
    report("mkdir again", mkdir("directory", 0755));
    report("rename into", rename("one", "directory/one"));
    report("rmdir not empty", rmdir("directory"));
    report_listing();
    report("chmod", chmod("three", 0600));
    report("truncate", truncate("three", 2));
    report("access", access("four", R_OK | W_OK));
    report("unlink", unlink("directory/one"));
    report("rmdir", rmdir("directory"));
    report("absent", open("absent", O_RDONLY));
    report("unlink four", unlink("four"));
    report("unlink three", unlink("three"));
    report_listing();
    return 0;
}
