/* A program of a conda-like prefix: prints what its library says and what it reads from the image.
 */
#include <stdio.h>

const char *greeting(void);

int
main(void)
{
    char image[64] = "nothing\n";
    FILE *file = fopen("/etc/lpmx-image", "r");

    if (file != NULL && fgets(image, sizeof(image), file) == NULL)
        return 1;
    printf("%s in %s", greeting(), image);
    return 0;
}
