#include "error.h"

#include <stdarg.h>
#include <stdio.h>

#ifndef FARTHING_VERSION
#define FARTHING_VERSION "0.1.0"
#endif

/* Written on failure only: nothing on the way of a successful call touches it. */
static _Thread_local char last_reason[FT_REASON_MAX];

ft_status ft_fail(ft_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_reason, sizeof last_reason, format, arguments);
    va_end(arguments);
    return status;
}

const char *ft_last_error(void) {
    return last_reason;
}

const char *ft_status_text(ft_status status) {
    switch (status) {
    case FT_OK:
        return "success";
    case FT_ERR_ARGUMENT:
        return "invalid argument";
    case FT_ERR_IO:
        return "the file cannot be read";
    case FT_ERR_FORMAT:
        return "not a valid .farthing file";
    case FT_ERR_VERSION:
        return "a .farthing file of an unknown version";
    case FT_ERR_MEMORY:
        return "out of memory";
    }
    return "unknown status";
}

const char *ft_version(void) {
    return FARTHING_VERSION;
}
