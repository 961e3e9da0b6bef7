#include "sparse.h"

#include <string.h>

#define BLOCK_K 4
#define WIDTHS 3

static size_t divide_up(size_t value, size_t by) { return (value + by - 1) / by; }

/* Whether the block of four k from k0 on holds a weight in the `width` columns from n0 on. */
static int is_occupied(const ft_pack_spec *spec, size_t n0, size_t width, size_t k0) {
    const size_t n1 = spec->n - n0 < width ? spec->n : n0 + width;
    const size_t k1 = spec->k - k0 < BLOCK_K ? spec->k : k0 + BLOCK_K;
    for (size_t n = n0; n < n1; n++)
        for (size_t k = k0; k < k1; k++)
            if (spec->weights[n * spec->k + k]) return 1;
    return 0;
}

/* Pairs of blocks hold nibbles. */
static size_t count_blocks(const ft_pack_spec *spec, size_t width, int is_paired) {
    size_t count = 0;
    for (size_t n = 0; n < spec->n; n += width) {
        for (size_t k = 0; k < spec->k; k += BLOCK_K) count += (size_t)is_occupied(spec, n, width, k);
        if (is_paired) count += count % 2;
    }
    return count;
}

uint32_t ft_choose_strip(const ft_isa *isa, const ft_pack_spec *spec, size_t *blocks) {
    const ft_blocks_kernel *kernel = &isa->blocks;
    const size_t steps = divide_up(spec->k, BLOCK_K);
    const int is_paired = spec->bits == 4 && kernel->nibbles;
    /* A panel of nibbles costs less than the same in bytes, and a scale for every group less than
     * one for every block. */
    const double gain = spec->bits == 4 && (!is_paired || spec->group) ? 1.5 : 1;
    /* The last panels are no wider than the columns that are left. */
    const double panels = (double)(divide_up(spec->n, isa->gemm.pad) * isa->gemm.pad) / FT_PANEL;
    double least = (double)steps * panels / gain;
    uint32_t best = 0;
    for (uint32_t i = 0, width = kernel->narrowest; kernel->run && i < WIDTHS; i++, width *= 2) {
        if (width > FT_PANEL) break;
        const size_t count = count_blocks(spec, width, is_paired);
        /* A strip costs about a block of its own, for its start and its epilogue. */
        const double cost = (double)(count + divide_up(spec->n, width)) * (double)kernel->cost[i];
        if (cost >= least) continue;
        least = cost;
        best = width;
        *blocks = count;
    }
    return best;
}

static void fill_block(const ft_pack_spec *spec, size_t n0, size_t k0, size_t block,
                       const ft_packed *out) {
    uint8_t *data = (uint8_t *)out->data + block / (1 + out->nibbles) * out->strip * BLOCK_K;
    for (size_t n = n0; n < spec->n && n < n0 + out->strip; n++, data += BLOCK_K)
        for (size_t k = k0; k < spec->k && k < k0 + BLOCK_K; k++)
            ft_put_weight(data + k - k0, spec->weights[n * spec->k + k], out->nibbles, block % 2);
}

int ft_fill_blocks(const ft_pack_spec *spec, size_t blocks, ft_packed *out) {
    const size_t width = out->strip, strips = out->n_padded / width;
    const size_t data_bytes = blocks * width * BLOCK_K / (1 + out->nibbles);
    out->data = ft_alloc(data_bytes, 1);
    out->first = ft_alloc(strips + 1, sizeof *out->first);
    out->at = ft_alloc(blocks, sizeof *out->at);
    if (!out->data || !out->first || !out->at) return -1;
    out->bytes += data_bytes + (strips + 1 + blocks) * sizeof *out->at;
    if (out->nibbles) memset(out->data, 0x88, data_bytes); /* both nibbles: weight 0 */
    uint32_t block = 0;
    for (size_t s = 0; s < strips; s++) {
        out->first[s] = block;
        for (size_t k0 = 0; k0 < spec->k; k0 += BLOCK_K) {
            if (!is_occupied(spec, s * width, width, k0)) continue;
            out->at[block] = (uint32_t)k0;
            fill_block(spec, s * width, k0, block++, out);
        }
        if (out->nibbles) block += block % 2; /* at k = 0 */
    }
    out->first[strips] = block;
    return 0;
}

/* Entries come in fours. */
#define QUAD 4

static size_t count_nonzeros(const ft_pack_spec *spec, size_t n) {
    size_t count = 0;
    for (size_t k = 0; k < spec->k; k++) count += spec->weights[n * spec->k + k] != 0;
    return count;
}

static size_t count_entries(const ft_pack_spec *spec) {
    size_t count = 0;
    for (size_t n = 0; n < spec->n; n++) count += divide_up(count_nonzeros(spec, n), QUAD) * QUAD;
    return count;
}

int ft_choose_lists(const ft_isa *isa, const ft_pack_spec *spec) {
    if (!isa->lists.run || spec->group || spec->n == 1 || spec->k > UINT16_MAX / 4) return 0;
    const double entries = (double)count_entries(spec) + (double)spec->n * 4;
    return entries * (double)isa->lists.cost < (double)spec->n * (double)spec->k;
}

/* The sum of the positive and that of the negative of `count` weights. */
static void raise_sums(const int8_t *w, size_t count, uint32_t *positive, uint32_t *negative) {
    uint32_t up = 0, down = 0;
    for (size_t i = 0; i < count; i++) {
        if (w[i] > 0) up += (uint32_t)w[i];
        else down += (uint32_t)-w[i];
    }
    if (up > *positive) *positive = up;
    if (down > *negative) *negative = down;
}

/* As depth_of in pack.c. */
static uint32_t list_depth(const int8_t *w, size_t entries, uint32_t amax) {
    for (uint32_t depth = 2; depth; depth--) {
        uint32_t positive = 0, negative = 0;
        for (size_t i = 0; i < entries; i += 2 * depth)
            raise_sums(w + i, 2 * depth, &positive, &negative);
        if (positive * amax <= 32767 && negative * amax <= 32768) return depth;
    }
    return 0;
}

int ft_fill_lists(const ft_isa *isa, const ft_pack_spec *spec, ft_packed *out) {
    const size_t entries = count_entries(spec);
    out->list = ft_alloc((size_t)out->n_padded + 1, sizeof *out->list);
    out->list_k = ft_alloc(entries, sizeof *out->list_k);
    out->list_w = ft_alloc(entries, sizeof *out->list_w);
    if (!out->list || !out->list_k || !out->list_w) return -1;
    size_t entry = 0;
    for (size_t n = 0; n < spec->n; n++) {
        const int8_t *weights = spec->weights + n * spec->k;
        out->list[n] = (uint32_t)entry;
        for (size_t k = 0; k < spec->k; k++) {
            if (!weights[k]) continue;
            out->list_k[entry] = (uint16_t)(4 * k);
            out->list_w[entry++] = weights[k];
        }
        entry = divide_up(entry, QUAD) * QUAD;
    }
    for (size_t n = spec->n; n <= out->n_padded; n++) out->list[n] = (uint32_t)entry;
    out->list_depth_u7 = list_depth(out->list_w, entries, 127);
    out->list_depth_u8 = list_depth(out->list_w, entries, 255);
    out->dense = out->run;
    out->run = isa->lists.run;
    out->scratch_bytes = divide_up(spec->k, 16) * 16 * isa->lists.rows;
    out->bytes += ((size_t)out->n_padded + 1) * sizeof *out->list +
                  entries * (sizeof *out->list_k + sizeof *out->list_w);
    return 0;
}
