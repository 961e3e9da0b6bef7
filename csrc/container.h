/* Reads a .farthing file from memory (docs/file-format.md).  Trusts nothing. */
#ifndef FT_CONTAINER_H
#define FT_CONTAINER_H

#include "farthing.h"

#include <stddef.h>
#include <stdint.h>

#define FT_NAME_MAX 64

typedef enum ft_dtype { FT_U8, FT_I8, FT_I32, FT_F32 } ft_dtype;

typedef struct ft_tensor {
    char name[FT_NAME_MAX + 1];
    ft_dtype dtype;
    uint32_t dims;     /* 1 or 2 */
    uint64_t shape[2]; /* shape[1] is 1 where dims is 1 */
    const uint8_t *data;
    size_t size; /* bytes; equals the shape's */
} ft_tensor;

typedef struct ft_container {
    uint32_t count;
    ft_tensor *tensors; /* in file order */
} ft_container;

/* Fills *out, whose tensors point into data.  On failure *out owns nothing, `reason` holds
 * a sentence. */
ft_status ft_container_parse(const uint8_t *data, size_t size, ft_container *out, char *reason,
                             size_t reason_size);
void ft_container_free(ft_container *container);

/* 64-bit FNV-1a of a whole file, its 16 checksum digits (at `digits`) taken as '0'. */
uint64_t ft_checksum(const uint8_t *data, size_t size, size_t digits);

#endif
