/* The reason of a thread's last failure. */
#ifndef FT_ERROR_H
#define FT_ERROR_H

#include "farthing.h"

#define FT_REASON_MAX 512 /* bytes, the final 0 included */

/* Keeps the formatted reason for ft_last_error and returns `status`. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
ft_status ft_fail(ft_status status, const char *format, ...);

#endif
