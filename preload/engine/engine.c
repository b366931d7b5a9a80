/* The one instance: see engine.h. */
#include "engine.h"

HOT_LAST struct engine engine;
