#if defined(__x86_64__) || defined(_M_X64)

#include "blocks.h"

#include "avx2_common.h"

/* `k` values of a panel `width` columns wide, from nibbles to signed bytes. */
static AVX2_FN void unpack_nibbles(const uint8_t *b, size_t width, size_t k, int8_t *out) {
    const __m256i low = _mm256_set1_epi8(0x0f), eight = _mm256_set1_epi8(8);
    for (size_t k8 = 0; k8 < k; k8 += 8, out += 8 * width) {
        for (size_t column = 0; column < width; column += 8, b += 32) {
            const __m256i w = load256(b);
            const __m256i even = _mm256_and_si256(w, low);
            const __m256i odd = _mm256_and_si256(_mm256_srli_epi16(w, 4), low);
            store256(out + 4 * column, _mm256_sub_epi8(even, eight));
            store256(out + 4 * (width + column), _mm256_sub_epi8(odd, eight));
        }
    }
}

/* What a call of x86_gemm is about, the rows apart. */
typedef struct x86_call {
    const ft_packed *w;
    x86_panel_fn *const *panels;
    int keeps_nibbles;
    size_t chain;
} x86_call;

/* One panel for the rows of s, slice by slice of k. */
static AVX2_FN void gemm_panel(const x86_call *call, const uint8_t *a, size_t n, size_t width,
                               x86_slice *s) {
    _Alignas(64) int8_t unpacked[KC4 * NR]; /* unaligned loads would cross cache lines */
    const ft_packed *w = call->w;
    const int unpacks = w->nibbles && !call->keeps_nibbles;
    const size_t kc = unpacks ? KC4 : KC;
    s->column = n;
    for (size_t k = 0; k < w->k_padded; k += kc) {
        const int8_t *b = (const int8_t *)w->data + (n * w->k_padded + k * width) / (1 + w->nibbles);
        s->k = w->k_padded - k < kc ? w->k_padded - k : kc;
        s->first = k == 0;
        s->last = k + s->k == w->k_padded;
        s->a = a + k;
        s->b = unpacks ? unpacked : b;
        s->scales = x86_panel_scales(w, n, width, k, call->chain);
        if (unpacks) unpack_nibbles((const uint8_t *)b, width, s->k, unpacked);
        call->panels[width_index(width)](s);
    }
}

/* Up to MC rows. */
static AVX2_FN void gemm_block(const x86_call *call, const x86_output *out, size_t m,
                               const uint8_t *a, size_t lda, char *c, size_t row_bytes) {
    _Alignas(64) int32_t partial[MC * NR];
    x86_slice s = {.out = *out, .rows = m, .lda = lda, .partial = partial, .c = c,
                   .row_bytes = row_bytes};
    const size_t columns = call->w->n_padded;
    for (size_t n = 0, width; n < columns; n += width) {
        width = ft_panel_width(NR, columns - n);
        gemm_panel(call, a, n, width, &s);
    }
}

void x86_gemm(const ft_packed *w, x86_panel_fn *const *panels, int keeps_nibbles, size_t chain,
              const x86_output *out, size_t m, const uint8_t *a, size_t lda, char *c,
              size_t row_bytes) {
    const x86_call call = {w, panels, keeps_nibbles, chain};
    for (size_t row = 0; row < m; row += MC)
        gemm_block(&call, out, m - row < MC ? m - row : MC, a + row * lda, lda, c + row * row_bytes,
                   row_bytes);
}

/* A multiple of the rows of every tile. */
enum { STRIP_ROWS = 8, STRIP_BYTES = 24576 };

void x86_gemm_strips(const ft_packed *w, x86_strips_fn *strips, ft_store store, size_t m,
                     const uint8_t *a, size_t lda, void *c, size_t ldc) {
    const x86_output out = {store, w->mult, w->add, w->out_amax, w->relu};
    const size_t row_bytes = ldc * (store == FT_STORE_U8 ? 1 : 4);
    const size_t fit = STRIP_BYTES / (w->k_padded + 1) / STRIP_ROWS * STRIP_ROWS;
    const size_t mc = fit > STRIP_ROWS ? fit : STRIP_ROWS;
    for (size_t row = 0; row < m; row += mc)
        strips(w, &out, m - row < mc ? m - row : mc, a + row * lda, lda,
               (char *)c + row * row_bytes, row_bytes);
}

#else
typedef int ft_no_x86_here; /* ISO C forbids an empty translation unit */
#endif
