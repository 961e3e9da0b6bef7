/* Which way an integer product goes. */
#ifndef FT_X86_AVX2_PATH_H
#define FT_X86_AVX2_PATH_H

#include "avx2_tile.h"

typedef enum avx2_path {
    PATH_WIDE,   /* int8, exact for any weights */
    PATH_DEPTH1, /* int8, certified */
    PATH_DEPTH2,
    PATH_DEPTH4,
    PATH_CHAIN,  /* int4: rows of a block meet signed bytes, a single row nibbles */
    PATH_OFFSET, /* int4 and u7, a single row: see tile_nibbles */
    PATHS
} avx2_path;

AVX2_TEMPLATE avx2_path choose_path(const ft_packed *w) {
    if (w->nibbles) return PATH_CHAIN;
    switch (w->amax <= 127 ? w->depth_u7 : w->depth_u8) {
    case 4: return PATH_DEPTH4;
    case 2: return PATH_DEPTH2;
    case 1: return PATH_DEPTH1;
    default: return PATH_WIDE;
    }
}

/* A tile on weights in bytes, of MR rows. */
AVX2_TEMPLATE void tile_bytes(const int PATH, const int MR, const int NV, size_t k,
                              const uint8_t *a, size_t lda, const int8_t *b,
                              const x86_scales *scales, __m256i acc[AVX2_MR][AVX2_NV]) {
    switch (PATH) {
    case PATH_WIDE: tile_wide(MR, NV, k, a, lda, b, acc); break;
    case PATH_DEPTH1: tile_depth(1, MR, NV, k, a, lda, b, acc); break;
    case PATH_DEPTH2: tile_depth(2, MR, NV, k, a, lda, b, acc); break;
    case PATH_DEPTH4: tile_depth(4, MR, NV, k, a, lda, b, acc); break;
    default: tile_chain(MR, NV, k, a, lda, b, scales, acc);
    }
}

/* k values of an int4 chain: bounds at tile_chain. */
AVX2_TEMPLATE size_t longest_chain(const ft_packed *w) { return w->amax <= 127 ? 64 : 32; }

#endif
