/* The integer product of block-sparse weights with VNNI: as avx2_blocks.h. */
#ifndef FT_X86_VNNI_BLOCKS_H
#define FT_X86_VNNI_BLOCKS_H

#include "vnni_tile.h"

VNNI_TEMPLATE VEC add_block(const int IS_SCALED, VEC acc, VEC x, VEC w, const uint8_t *scale) {
    return IS_SCALED ? add_chain(acc, v_dpbusd(v_zero(), x, w), v_load_scales(scale))
                     : v_dpbusd(acc, x, w);
}

/* MR rows; a single one forms two sums a column, of even and of odd blocks, to hide the latency. */
VNNI_TEMPLATE void strip_rows(const int IS_SCALED, const int MR, const int NV, const ft_packed *w,
                              const x86_output *out, size_t s, const uint8_t *a, size_t lda, char *c,
                              size_t row_bytes) {
    const uint32_t *at = w->at + w->first[s], *end = w->at + w->first[s + 1];
    const int8_t *b = (const int8_t *)w->data + (size_t)w->first[s] * 4 * LANES * NV;
    const x86_scales scales = x86_panel_scales(w, s * LANES * NV, LANES * NV, 0, FT_CHAIN);
    const int SETS = MR == 1 ? 2 : 1;
    VEC acc[VNNI_MR * VNNI_NV];
    UNROLL for (int r = 0; r < SETS * MR; r++) {
        UNROLL for (int v = 0; v < NV; v++) acc[r * NV + v] = v_zero();
    }
    for (; at + SETS <= end; at += SETS, b += SETS * 4 * LANES * NV) {
        UNROLL for (int r = 0; r < SETS * MR; r++) {
            const uint32_t k = MR == 1 ? at[r] : *at;
            const uint8_t *scale = scales.first + (k >> scales.shift) * scales.stride;
            const int8_t *block = MR == 1 ? b + r * 4 * LANES * NV : b;
            const VEC x = v_broadcast(a + (MR == 1 ? 0 : (size_t)r * lda) + k);
            UNROLL for (int v = 0; v < NV; v++) {
                acc[r * NV + v] = add_block(IS_SCALED, acc[r * NV + v], x,
                                            v_load(block + 4 * LANES * v), scale + LANES * v);
                KEEP_IN_REGISTER(acc[r * NV + v]);
            }
        }
    }
    if (MR == 1) {
        UNROLL for (int v = 0; v < NV; v++) {
            const uint8_t *scale = scales.first + LANES * v;
            acc[v] = v_add(acc[v], acc[NV + v]);
            if (at < end)
                acc[v] = add_block(IS_SCALED, acc[v], v_broadcast(a + *at),
                                   v_load(b + 4 * LANES * v),
                                   scale + (*at >> scales.shift) * scales.stride);
        }
    }
    UNROLL for (int r = 0; r < MR; r++)
        v_store_sums(NV, out, acc + r * NV, c + (size_t)r * row_bytes, s * LANES * NV);
}

/* The same on nibbles, two blocks at a time. */
VNNI_TEMPLATE void nibble_strip_rows(const int IS_SCALED, const int MR, const int NV,
                                     const ft_packed *w, const x86_output *out, size_t s,
                                     const uint8_t *a, size_t lda, char *c, size_t row_bytes) {
    const VEC low = v_set1(0x0f0f0f0f), eight = v_set1(0x08080808);
    const uint32_t *at = w->at + w->first[s], *end = w->at + w->first[s + 1];
    const int8_t *b = (const int8_t *)w->data + (size_t)w->first[s] * 2 * LANES * NV;
    const x86_scales scales = x86_panel_scales(w, s * LANES * NV, LANES * NV, 0, FT_CHAIN);
    VEC acc[VNNI_MR * VNNI_NV];
    UNROLL for (int r = 0; r < MR; r++) {
        UNROLL for (int v = 0; v < NV; v++) acc[r * NV + v] = v_zero();
    }
    for (; at < end; at += 2, b += 4 * LANES * NV) {
        VEC half[2][VNNI_NV];
        UNROLL for (int v = 0; v < NV; v++) {
            VEC both = v_load(b + 4 * LANES * v);
            KEEP_IN_REGISTER(both); /* or gcc loads it twice */
            half[0][v] = v_sub8(v_and(both, low), eight);
            half[1][v] = v_sub8(v_and(v_shift_right_4(both), low), eight);
        }
        UNROLL for (int h = 0; h < 2; h++) {
            const uint8_t *scale = scales.first + (at[h] >> scales.shift) * scales.stride;
            UNROLL for (int r = 0; r < MR; r++) {
                const VEC x = v_broadcast(a + (size_t)r * lda + at[h]);
                UNROLL for (int v = 0; v < NV; v++) {
                    VEC *sum = acc + r * NV + v;
                    *sum = add_block(IS_SCALED, *sum, x, half[h][v], scale + LANES * v);
                    KEEP_IN_REGISTER(*sum);
                }
            }
        }
    }
    UNROLL for (int r = 0; r < MR; r++)
        v_store_sums(NV, out, acc + r * NV, c + (size_t)r * row_bytes, s * LANES * NV);
}

/* All strips for m rows. */
VNNI_TEMPLATE void strips(const int IS_NIBBLES, const int IS_SCALED, const int NV,
                          const ft_packed *w, const x86_output *out, size_t m, const uint8_t *a,
                          size_t lda, char *c, size_t row_bytes) {
    const size_t count = w->n_padded / (LANES * NV);
    for (size_t s = 0; s < count; s++) {
        const uint8_t *x = a;
        char *y = c;
        size_t left = m;
        for (; left >= VNNI_MR; left -= VNNI_MR, x += VNNI_MR * lda, y += VNNI_MR * row_bytes) {
            if (IS_NIBBLES)
                nibble_strip_rows(IS_SCALED, VNNI_MR, NV, w, out, s, x, lda, y, row_bytes);
            else strip_rows(IS_SCALED, VNNI_MR, NV, w, out, s, x, lda, y, row_bytes);
        }
        for (; left; left--, x += lda, y += row_bytes) {
            if (IS_NIBBLES) nibble_strip_rows(IS_SCALED, 1, NV, w, out, s, x, lda, y, row_bytes);
            else strip_rows(IS_SCALED, 1, NV, w, out, s, x, lda, y, row_bytes);
        }
    }
}

/* Longest row whose eights are kept for all strips: 1 KiB of stack. */
enum { EIGHTS_K = 1024 };

/* For every block of four k, -8 times the sum of its activations: signed, as offset_strip reads
 * them, so that what lies past k cancels. */
VNNI_TEMPLATE void sum_eights(const uint8_t *a, size_t k, int32_t *eights) {
    const __m128i eight = _mm_set1_epi8(8), minus_one = _mm_set1_epi16(-1);
    for (size_t at = 0; at < k; at += 8) {
        const __m128i x = _mm_loadl_epi64((const __m128i *)(a + at));
        const __m128i sums = _mm_madd_epi16(_mm_maddubs_epi16(eight, x), minus_one);
        _mm_storel_epi64((__m128i *)(eights + at / 4), sums);
    }
}

/* Of the block at k: they lie four bytes apart, as its activations do. */
VNNI_TEMPLATE int32_t eight_at(const int32_t *eights, uint32_t k) {
    int32_t value;
    memcpy(&value, (const char *)eights + k, sizeof value);
    return value;
}

/* One row of u7: the nibble w + 8 is the unsigned operand, the activation the signed one, and the
 * high nibbles stay where they are, 16 times their worth (see row_nibbles). */
VNNI_TEMPLATE void offset_strip(const int NV, const ft_packed *w, const x86_output *out, size_t s,
                                const uint8_t *a, const int32_t *eights, char *c) {
    const VEC low = v_set1(0x0f0f0f0f), high = v_set1((int32_t)0xf0f0f0f0);
    const uint32_t *at = w->at + w->first[s], *end = w->at + w->first[s + 1];
    const int8_t *b = (const int8_t *)w->data + (size_t)w->first[s] * 2 * LANES * NV;
    VEC sum[VNNI_NV], sixteen[VNNI_NV];
    int32_t offset = 0;
    UNROLL for (int v = 0; v < NV; v++) sum[v] = sixteen[v] = v_zero();
    for (; at < end; at += 2, b += 4 * LANES * NV) {
        const VEC x0 = v_broadcast(a + at[0]), x1 = v_broadcast(a + at[1]);
        offset += eight_at(eights, at[0]) + eight_at(eights, at[1]);
        UNROLL for (int v = 0; v < NV; v++) {
            VEC both = v_load(b + 4 * LANES * v);
            KEEP_IN_REGISTER(both); /* or gcc loads it twice */
            sum[v] = v_dpbusd(sum[v], v_and(both, low), x0);
            sixteen[v] = v_dpbusd(sixteen[v], v_and(both, high), x1);
            KEEP_IN_REGISTER(sum[v]);
            KEEP_IN_REGISTER(sixteen[v]);
        }
    }
    UNROLL for (int v = 0; v < NV; v++)
        sum[v] = v_add(v_add(sum[v], v_shift_right32_4(sixteen[v])), v_set1(offset));
    v_store_sums(NV, out, sum, c, s * LANES * NV);
}

/* All strips for it.  Not inlined: gcc would be short of registers. */
#define OFFSET_STRIPS(width)                                                               \
    static VNNI_FN __attribute__((noinline)) void offset_strips_##width(                   \
        const ft_packed *w, const x86_output *out, const uint8_t *a, char *c) {            \
        int32_t eights[EIGHTS_K / 4];                                                      \
        sum_eights(a, w->k_padded, eights);                                                \
        for (size_t s = 0; s < w->n_padded / width; s++)                                   \
            offset_strip(width / LANES, w, out, s, a, eights, c);                          \
    }

#define STRIPS(width)                                                                      \
    OFFSET_STRIPS(width)                                                                   \
    static VNNI_FN void strips_##width(const ft_packed *w, const x86_output *out, size_t m, \
                                       const uint8_t *a, size_t lda, char *c,              \
                                       size_t row_bytes) {                                 \
        const int is_nibbles = KEEPS_NIBBLES && w->nibbles;                                \
        if (!is_nibbles && w->group)                                                       \
            strips(0, 1, width / LANES, w, out, m, a, lda, c, row_bytes);                  \
        else if (!is_nibbles) strips(0, 0, width / LANES, w, out, m, a, lda, c, row_bytes); \
        else if (w->group) strips(1, 1, width / LANES, w, out, m, a, lda, c, row_bytes);   \
        else if (m == 1 && w->amax <= 127 && w->k_padded <= EIGHTS_K)                      \
            offset_strips_##width(w, out, a, c);                                           \
        else strips(1, 0, width / LANES, w, out, m, a, lda, c, row_bytes);                 \
    }
#if LANES == 8
STRIPS(8)
#else
#define strips_8 NULL
#endif
STRIPS(16)
STRIPS(32)

static x86_strips_fn *const strips_fns[WIDTHS] = {strips_8, strips_16, strips_32};

static VNNI_FN void gemm_blocks(const ft_packed *w, ft_store store, size_t m, const uint8_t *a,
                                size_t lda, void *c, size_t ldc, void *scratch) {
    (void)scratch;
    x86_gemm_strips(w, strips_fns[width_index(w->strip)], store, m, a, lda, c, ldc);
}

#endif
