/* What the x86 kernels of integer products share: the loops around their panels. */
#ifndef FT_X86_BLOCKS_H
#define FT_X86_BLOCKS_H

#include "../kernels.h"

/* Panels of 32, 16 and 8 columns. */
enum { NR = 32, WIDTHS = 3 };

/* Where a table of functions has the panels of that width. */
static inline size_t width_index(size_t width) { return width / 16; }

/* Blocks of at most MC rows and KC (KC4 on unpacked int4) values of k, so that the slice of
 * a panel that all rows of a block meet stays in L1: 16 KiB of int8, 8 KiB of unpacked int4.
 * With the sums of a block (5 KiB) a call takes at most 16 KiB of stack. */
enum { MC = 40, KC = 512, KC4 = 256 };

/* What becomes of the sums. */
typedef struct x86_output {
    ft_store store;
    const float *mult, *add;
    uint32_t out_amax, relu;
} x86_output;

/* Where an int4 layer's group scales lie; without groups every chain takes the ones. */
typedef struct x86_scales {
    const uint8_t *first;
    size_t stride;  /* bytes from one group to the next; 0 without groups */
    unsigned shift; /* a group is 2^shift values of k */
    size_t chain;   /* k values added up in int16; never more than a group */
} x86_scales;

/* For the widest panel. */
#define EIGHT_ONES 1, 1, 1, 1, 1, 1, 1, 1
static const uint8_t no_scales[NR] = {EIGHT_ONES, EIGHT_ONES, EIGHT_ONES, EIGHT_ONES};

/* Scales of the panel that starts at column n, from k on; chain: the longest allowed. */
static inline x86_scales x86_panel_scales(const ft_packed *w, size_t n, size_t width,
                                          size_t k, size_t chain) {
    if (!w->group) return (x86_scales){no_scales, 0, 0, chain};
    const unsigned shift = w->group == 32 ? 5 : 6;
    const size_t groups = (w->k + w->group - 1) >> shift;
    const uint8_t *first = w->scales + n * groups + (k >> shift) * width;
    return (x86_scales){first, width, shift, w->group < chain ? w->group : chain};
}

/* One panel's slice of k for a block of rows. */
typedef struct x86_slice {
    x86_output out;
    size_t rows, k;
    const uint8_t *a;
    size_t lda;
    const int8_t *b; /* bytes, or int4 in nibbles where the panels take them */
    x86_scales scales;
    int32_t *partial; /* [rows][NR]: sums over the slices so far */
    int first, last;
    char *c; /* of the block's first row */
    size_t row_bytes, column;
} x86_slice;

typedef void x86_panel_fn(const x86_slice *s);

/* m rows through panels, one function for each width; int4 is unpacked once a block and panel
 * where the panels do not take it in nibbles.  chain: the longest that they add up in int16. */
void x86_gemm(const ft_packed *w, x86_panel_fn *const *panels, int keeps_nibbles, size_t chain,
              const x86_output *out, size_t m, const uint8_t *a, size_t lda, char *c,
              size_t row_bytes);

typedef void x86_strips_fn(const ft_packed *w, const x86_output *out, size_t m, const uint8_t *a,
                           size_t lda, char *c, size_t row_bytes);

/* m rows through block-sparse weights, as many at a time as stay in L1 while all strips meet
 * them. */
void x86_gemm_strips(const ft_packed *w, x86_strips_fn *strips, ft_store store, size_t m,
                     const uint8_t *a, size_t lda, void *c, size_t ldc);

#endif
