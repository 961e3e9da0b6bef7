/* Weights from their canonical form (rows of n outputs, k inputs) to panels. */
#ifndef FT_PACK_H
#define FT_PACK_H

#include "kernels.h"

typedef struct ft_pack_spec {
    const int8_t *weights;       /* [n][k]; int4 weights lie in -7..7 */
    const uint8_t *group_scales; /* [n][ceil(k / group)], 1..63; NULL: all 1 */
    uint32_t n, k, bits, group;  /* group 0: no scales */
    uint32_t amax;               /* 127 or 255 */
    uint32_t may_skip; /* zeros may be left out, where that is faster */
} ft_pack_spec;

/* Why a pack was refused; `column` and `index` say where. */
typedef enum ft_pack_fault {
    FT_PACK_OK = 0,
    FT_PACK_MEMORY,
    FT_PACK_WEIGHT,   /* a weight outside -127..127 (8 bit) or -7..7 (4 bit) */
    FT_PACK_SCALE,    /* a group scale outside 1..63 */
    FT_PACK_OVERFLOW, /* amax times the positive or negative weights of a column passes int32 */
    FT_PACK_SHAPE     /* n, k or bits out of range, a group that is not 0, 32 or 64,
                      * or groups of 8-bit weights */
} ft_pack_fault;

/* Fills *out (mult and add NULL) for the ISA's gemm.  On failure *out owns nothing and
 * *column is the first offending output.  ft_pack_free also frees mult and add, which the
 * caller takes from ft_alloc. */
ft_pack_fault ft_pack(const ft_isa *isa, const ft_pack_spec *spec, ft_packed *out,
                      uint32_t *column);
void ft_pack_free(ft_packed *packed);

/* How many u8 x s8 pair products may add up in int16 for activations <= amax: 4, 2, 1 or 0. */
uint32_t ft_certified_depth(const int8_t *weights, uint32_t n, uint32_t k, uint32_t amax);

/* weights and bias in canonical order; 0 or -1 (memory). */
int ft_pack_f32(const ft_isa *isa, const float *weights, const float *bias, uint32_t n, uint32_t k,
                ft_packed_f32 *out);
void ft_pack_f32_free(ft_packed_f32 *packed);

/* A weight to its byte, or to one of the two nibbles of it. */
void ft_put_weight(uint8_t *at, int weight, int is_nibble, int is_high);

/* 64-byte aligned, zeroed; NULL where size overflows or memory is short.  Free with ft_free. */
void *ft_alloc(size_t count, size_t size);
void ft_free(void *p);

#endif
