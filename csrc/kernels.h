/* The contract of one ISA.  A kernel file includes this header and nothing else of ours.
 *
 * Weights are packed once (pack.c) in panels of `nr` columns (a column is one output):
 *   8 bit   data[panel][k / kr][column in panel][k % kr]                       int8
 *   nibbles data[panel][k / (2 kr)][column in panel][k % kr]                   uint8
 *           low nibble: w + 8 of the even kr-block, high nibble: of the odd one
 * So that a layer of few outputs does not pay for a whole panel, the last columns lie in panels
 * of nr / 2, nr / 4, ..., pad columns: see ft_panel_width.  k is padded to k_padded, n to
 * n_padded, a multiple of the kernel's pad; padding weights are 0.
 * A layer of one output without group scales is, where the ISA asks for it, just a row of int8
 * (nr = kr = 1), k_padded a multiple of FT_PAD_COLUMN.
 *
 * Buffers: a kernel may read k_padded bytes of every row of `a` (values past k are
 * multiplied by 0) and writes n_padded elements of every row of `c`. */
#ifndef FT_KERNELS_H
#define FT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __FAST_MATH__
#error "farthing's results depend on IEEE arithmetic: build without -ffast-math"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "farthing's results depend on float arithmetic in float precision"
#endif

#define FT_PANEL 32      /* widest panel of any ISA, in columns */
#define FT_PAD_K 8       /* k is padded to this multiple: a pair of k4 blocks */
#define FT_PAD_COLUMN 32 /* the same for a layer of one output: a vector of int8 */
#define FT_LISTED_ROWS 24 /* fewer meet all weights of a layer that lists those that are not 0 */
#define FT_CHAIN 32      /* k values of an int4 chain, the smallest group */

/* What a matrix product stores for each output. */
typedef enum ft_store {
    FT_STORE_I32, /* the int32 sum */
    FT_STORE_U8,  /* sat(rne(float(sum) * mult + add)) in 0..out_amax */
    FT_STORE_F32  /* float(sum) * mult + add, then max(., 0) if relu */
} ft_store;

/* Nearest integer, ties to even, for abs(v) <= 255: above 2^23 a float's spacing is 1, so
 * the addition rounds, in the default mode, and the subtraction is exact. */
static inline float ft_round_even(float v) {
    const float shift = 12582912.0f; /* 2^23 + 2^22 */
    return (v + shift) - shift;
}

/* Columns of the panel that starts where `left` padded columns are left. */
static inline size_t ft_panel_width(size_t nr, size_t left) {
    while (nr > left) nr /= 2;
    return nr;
}

struct ft_packed;

/* c[m x n_padded] = a[m x k_padded] times w.  lda in bytes, ldc in elements of c.  scratch: 64-byte
 * aligned, of w->scratch_bytes; unused for m < FT_LISTED_ROWS. */
typedef void ft_gemm_fn(const struct ft_packed *w, ft_store store, size_t m, const uint8_t *a,
                        size_t lda, void *c, size_t ldc, void *scratch);

/* Weights of one integer layer, packed for one ISA. */
typedef struct ft_packed {
    ft_gemm_fn *run; /* the product for this layout */
    uint32_t n, k;
    uint32_t n_padded, k_padded;
    uint32_t nr, kr;          /* layout, copied from the ISA's row */
    uint32_t bits;            /* 8 or 4 */
    uint32_t nibbles;         /* data holds two weights a byte */
    uint32_t group;           /* k values a group scale covers; 0: no scales */
    /* How many maddubs results may be added in int16 before widening, for activations
     * <= 127 and <= 255: 4, 2, 1, or 0 where a single one can already saturate. */
    uint32_t depth_u7, depth_u8;
    uint32_t amax;     /* bound on the activations this product is run with: 127 or 255 */
    uint32_t out_amax; /* FT_STORE_U8 clamps to it */
    uint32_t relu;
    void *data;        /* 64-byte aligned */
    uint8_t *scales;   /* of int4 groups, [panel][group][column in panel]; NULL where group is 0 */
    float *mult, *add; /* [n_padded], padded with 0; NULL for a bare product */
    size_t bytes;      /* of data, scales, blocks and lists */
    /* Block-sparse weights: of every strip of columns only those blocks of four k are kept that
     * are not all 0, data[block][column in strip][4], int8; in nibbles data[pair of blocks][column
     * in strip][4], low and high as in a panel, a strip's last block being one of zeros where their
     * number is odd.  The scales of a strip lie as those of a panel. */
    uint32_t strip;  /* columns of one, n_padded is a multiple of it; 0: every weight is kept */
    uint32_t *first; /* [strips + 1]: a strip's first block, and how many there are */
    uint32_t *at;    /* [blocks]: k of the first of its four values, increasing within a strip */
    /* Beside every weight, for many rows: a list for each output of its weights that are not 0, as
     * many as is a multiple of 4, filled up with weights of 0 at k = 0.  NULL: none. */
    uint32_t *list;    /* [n_padded + 1]: its first entry, and how many there are */
    uint16_t *list_k;  /* [entries]: four times the k of each */
    int8_t *list_w;
    /* Whether four of them (2) or two (1) may be added in int16, as depth_u7 and depth_u8; 0: not. */
    uint32_t list_depth_u7, list_depth_u8;
    ft_gemm_fn *dense; /* on every weight */
    size_t scratch_bytes;
} ft_packed;

/* Weights of one float layer: [panel][k][column in panel], panels as above. */
typedef struct ft_packed_f32 {
    uint32_t n, k, n_padded, nr;
    uint32_t relu;
    float *data;
    float *bias; /* [n_padded] */
    size_t bytes;
} ft_packed_f32;

/* c = a w + bias in float32: ((b + x0*w0) + x1*w1) + ... in order of k, multiply and add
 * apart, terms whose x is 0 left out; then max(., 0) if relu.  A bias of -0.0 counts as 0.0.
 * Reads k elements of every row of `a`, writes n_padded of c.  lda and ldc in elements. */
typedef void ft_gemm_f32_fn(const ft_packed_f32 *w, size_t m, const float *a, size_t lda, float *c,
                            size_t ldc);

/* A standardised feature is at most that far from 0: sums of float layers stay finite, and a
 * monotone one stays monotone, for every x. */
#define FT_STANDARD_LIMIT 0x1p32f

/* Raw features to the input of the first layer: (x - shift) * scale in float32, clamped to
 * +-FT_STANDARD_LIMIT, where NaN counts as its fill.  The arrays are padded to a multiple of 8. */
typedef struct ft_scaler {
    uint32_t n;
    uint32_t out_amax; /* FT_STORE_U8: clamped to [0, out_amax], rounded to nearest even */
    const float *shift, *scale, *fill;
} ft_scaler;

/* n values of x to y, FT_STORE_U8 or FT_STORE_F32.  May write up to a multiple of 8 elements. */
typedef void ft_scale_fn(const ft_scaler *s, ft_store store, const float *x, void *y);

/* The index of the first infinity in x[count], or count. */
typedef size_t ft_find_infinity_fn(const float *x, size_t count);

/* Piecewise-linear encoding of raw features, fused with the layer it feeds.
 *
 * Bin t of a feature covers [low, next low); x is encoded as v = (x - low) * scale clamped to
 * [0, amax], the bins before it as amax (1 in float), those after it as 0.  In integers the sum
 * over a feature's bins is then amax * S[t] + rne(v) * W[t], S the sum of the weights of the
 * bins before t, so each bin is one table row of int16 pairs (S, W).  Where a feature
 * has no bins (a constant column) its one row is 0.  A learnt missing input has a row of
 * its own before those of its feature's bins.
 *
 * A categorical feature has one table row a category, one for any other value and, where it is
 * learnt, one for missing; each holds all that the feature adds to the sum: in integers
 * amax * S + r with 0 <= r < amax, the pair (S, r), with the code amax | 1 << 16 for all of them,
 * in float with the value 1.  That code is the feature's missing_pair or missing_value.  `row` is
 * the last of its rows, so that none lies before that of x; the scale there is NaN, which takes
 * every x off the way of the numbers. */

typedef struct ft_encoder_feature {
    uint32_t column; /* of x */
    uint32_t row;    /* table row of the first bin */
    uint32_t bins;
    uint32_t missing_row; /* what NaN stands for: code (see below) */
    uint32_t missing_pair; /* of an integer table */
    float missing_value;   /* of a float table */
} ft_encoder_feature;

#define FT_STEPS 4

/* Eight of the used features, side by side; after the last one its first is repeated, with no edge
 * that x could reach. */
typedef struct ft_encoder_eight {
    uint32_t column[8], row[8]; /* of the features */
    uint32_t adjoin;            /* whether these are eight neighbouring columns */
    uint32_t inner, steps; /* where their inner edges start; how many each has, padding included */
} ft_encoder_eight;

typedef struct ft_bin {
    float low, scale;
} ft_bin;

typedef struct ft_categorical {
    uint32_t rows;  /* of the table; 0: the feature is numeric */
    uint32_t first; /* the row of the first category */
    uint32_t count; /* of categories; row first + count is that of any other value */
    uint32_t dim;   /* of its embedding; 0: none */
    float *values;  /* [count], increasing; NULL: 0, 1, ..., count - 1 */
} ft_categorical;

/* The table row of an x that is not NaN. */
static inline uint32_t ft_category_row(const ft_categorical *c, float x) {
    const uint32_t other = c->first + c->count;
    uint32_t low = 0, high = c->count;
    if (!c->values) {
        if (!(x >= 0.0f && x < (float)high)) return other;
        low = (uint32_t)x;
        return (float)low == x ? c->first + low : other;
    }
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (c->values[middle] < x) low = middle + 1;
        else high = middle;
    }
    return low < c->count && c->values[low] == x ? c->first + low : other;
}

typedef struct ft_encoder {
    uint32_t features;           /* columns of x */
    uint32_t used, rows;         /* features with a table row; table rows in all */
    ft_encoder_feature *feature; /* [used] */
    ft_bin *bin;                 /* [rows] */
    ft_encoder_eight *eight;     /* [used / 8, rounded up] */
    /* The lows of each feature's bins 1.., [step][feature] of each eight, padded with NaN to a
     * multiple of FT_STEPS for all of them: no x reaches it, +inf included. */
    float *inner;
    size_t bytes; /* of all these */
    ft_categorical *categorical; /* [used]; NULL where every feature is numeric */
} ft_encoder;

typedef struct ft_encoded {
    const ft_encoder *encoder;
    uint32_t n, n_padded; /* n_padded: a multiple of 8 */
    uint32_t amax;        /* 127 or 255; 1 for the float table */
    uint32_t out_amax, relu;
    int16_t *table;       /* [rows][n_padded][2]: S, W */
    float *table_f32;     /* [rows][n_padded]: W; rows of a feature's bins adjoin */
    float *mult, *add;    /* [n_padded]; add is the bias of a float layer */
    size_t bytes;
} ft_encoded;

/* One row of x to c (n_padded elements).  `codes` is scratch of FT_CODES_BYTES(used): the
 * table rows of the used features, from FT_CODES(used) on their pairs amax | rne(v) << 16, or
 * floats v. */
typedef void ft_encode_fn(const ft_encoded *w, ft_store store, const float *x, uint32_t *codes,
                          void *c);
#define FT_CODES(used) (((size_t)(used) + 7) / 8 * 8)
#define FT_CODES_BYTES(used) (FT_CODES(used) * 8)

/* Lowers *low and raises *high to the least and the largest of x[count], NaN left out. */
typedef void ft_range_fn(const float *x, size_t count, float *low, float *high);

/* q = x / scale in float32, clamped to +-limit, rounded to nearest even; -limit where that is NaN. */
typedef void ft_quantize_fn(const float *x, size_t count, float scale, int32_t limit, int8_t *q);
static inline int8_t ft_quantized(float x, float scale, int32_t limit) {
    const float v = x / scale, most = (float)limit;
    const float above = v > -most ? v : -most, within = above < most ? above : most;
    return (int8_t)ft_round_even(within);
}

/* x = q * scale. */
typedef void ft_dequantize_fn(const int8_t *q, size_t count, float scale, float *x);

/* `count` values in -8..7 to nibbles of two's complement, the low one first, and back; an odd count
 * leaves the last high nibble 0. */
typedef void ft_join_nibbles_fn(const int8_t *q, size_t count, uint8_t *nibbles);
typedef void ft_split_nibbles_fn(const uint8_t *nibbles, size_t count, int8_t *q);
static inline void ft_join_nibbles_scalar(const int8_t *q, size_t count, uint8_t *nibbles) {
    for (size_t i = 0; i < count; i += 2) {
        const int high = i + 1 < count ? q[i + 1] : 0;
        nibbles[i / 2] = (uint8_t)((q[i] & 15) | (high & 15) << 4);
    }
}
static inline void ft_split_nibbles_scalar(const uint8_t *nibbles, size_t count, int8_t *q) {
    for (size_t i = 0; i < count; i++) {
        const int nibble = nibbles[i / 2] >> (i % 2 * 4) & 15;
        q[i] = (int8_t)((nibble ^ 8) - 8);
    }
}

/* A kernel with the tile it wants its operands packed for. */
typedef struct ft_gemm_kernel {
    ft_gemm_fn *run;
    uint32_t mr, nr, kr; /* nr a power of two; nr and kr 1: plain rows */
    uint32_t pad;        /* columns are padded to a multiple of it: a multiple of 8, or 1 */
    uint32_t nibbles;    /* int4 stays two to a byte */
    uint32_t column;     /* a layer of one output is packed as a row */
} ft_gemm_kernel;

/* The same for block-sparse weights. */
typedef struct ft_blocks_kernel {
    ft_gemm_fn *run;
    uint32_t narrowest; /* strips have that many columns, twice or four times as many, up to 32 */
    uint32_t nibbles;   /* int4 stays two to a byte */
    /* What a block costs for a row in a strip of that width, in blocks of a dense panel of 32. */
    float cost[3];
} ft_blocks_kernel;

/* The same for listed weights. */
typedef struct ft_lists_kernel {
    ft_gemm_fn *run;
    uint32_t rows; /* run at a time */
    float cost;    /* of an entry, in weights of a dense panel, for many rows */
} ft_lists_kernel;

/* One row of the dispatch table.  A NULL entry is filled from the next ISA that this CPU has;
 * `scalar` has every entry but `blocks` and `lists`: there all weights are kept. */
typedef struct ft_isa {
    const char *name;
    uint64_t needs;   /* bits of cpu.h */
    uint64_t last_on; /* the same: a CPU with any of them takes the ISA only where it is forced */
    ft_gemm_kernel gemm;
    ft_blocks_kernel blocks;
    ft_lists_kernel lists;
    struct { ft_gemm_f32_fn *run; uint32_t nr; } gemm_f32;
    ft_find_infinity_fn *find_infinity;
    ft_scale_fn *scale;
    ft_encode_fn *encode;     /* integer table */
    ft_encode_fn *encode_f32; /* float table, FT_STORE_F32 only */
    ft_range_fn *range;
    ft_quantize_fn *quantize;
    ft_dequantize_fn *dequantize;
    ft_join_nibbles_fn *join_nibbles;
    ft_split_nibbles_fn *split_nibbles;
} ft_isa;

extern const ft_isa ft_isa_scalar;
#if defined(__x86_64__) || defined(_M_X64)
extern const ft_isa ft_isa_avx2, ft_isa_avx_vnni, ft_isa_avx512_vnni;
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__ARM_BIG_ENDIAN)
#define FT_HAS_NEON 1 /* the layouts are those of little-endian lanes */
extern const ft_isa ft_isa_neon, ft_isa_neon_dotprod;
#endif

#endif
