/* The library half of greet: found through the program's own $ORIGIN path, as conda's libraries
 * are. */
const char *greeting(void);

const char *
greeting(void)
{
    return "greetings from a prefix";
}
