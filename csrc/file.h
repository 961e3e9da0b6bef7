/* A whole file into memory. */
#ifndef FT_FILE_H
#define FT_FILE_H

#include "farthing.h"

#include <stdint.h>

/* *data is malloc'ed, of *size bytes.  On failure the reason is left with ft_fail. */
ft_status ft_read_file(const char *path, uint8_t **data, size_t *size);

#endif
