#include "pack.h"

#include "sparse.h"

#include <stdlib.h>
#include <string.h>

#define MAX_WIDTH (1u << 20)
#define MAX_GROUP_SCALE 63

static size_t round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

void *ft_alloc(size_t count, size_t size) {
    const size_t line = 64;
    if (size && count > (SIZE_MAX - line) / size) return NULL;
    const size_t bytes = count && size ? round_up(count * size, line) : line;
    void *p = aligned_alloc(line, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

void ft_free(void *p) { free(p); }

/* Largest sums of positive and of negative weights (as magnitudes) that meet in one int16
 * lane when 1, 2 or 4 products are added: index 0, 1, 2. */
typedef struct lane_sums {
    uint32_t positive[3], negative[3];
} lane_sums;

static void raise_to(uint32_t *maximum, uint32_t value) {
    if (value > *maximum) *maximum = value;
}

/* A lane takes two neighbouring k of every block of 4, so the two lanes of a column see
 * k % 4 in {0, 1} and {2, 3}. */
static void add_column(const int8_t *weights, uint32_t k, lane_sums *sums) {
    for (uint32_t k0 = 0; k0 < k; k0 += 16) {
        for (uint32_t lane = 0; lane < 2; lane++) {
            uint32_t positive[4] = {0}, negative[4] = {0};
            for (uint32_t step = 0; step < 4; step++) {
                for (uint32_t i = 0; i < 2; i++) {
                    const uint32_t at = k0 + 4 * step + 2 * lane + i;
                    const int32_t w = at < k ? weights[at] : 0;
                    if (w > 0) positive[step] += (uint32_t)w;
                    else negative[step] += (uint32_t)-w;
                }
                raise_to(&sums->positive[0], positive[step]);
                raise_to(&sums->negative[0], negative[step]);
            }
            for (uint32_t half = 0; half < 4; half += 2) {
                raise_to(&sums->positive[1], positive[half] + positive[half + 1]);
                raise_to(&sums->negative[1], negative[half] + negative[half + 1]);
            }
            raise_to(&sums->positive[2], positive[0] + positive[1] + positive[2] + positive[3]);
            raise_to(&sums->negative[2], negative[0] + negative[1] + negative[2] + negative[3]);
        }
    }
}

/* A sum of positive products may reach 32767, one of negative products -32768; where both
 * occur in a lane every partial sum lies between the two. */
static uint32_t depth_of(const lane_sums *sums, uint32_t amax) {
    for (int i = 2; i >= 0; i--)
        if (sums->positive[i] * amax <= 32767 && sums->negative[i] * amax <= 32768)
            return 1u << i;
    return 0;
}

uint32_t ft_certified_depth(const int8_t *weights, uint32_t n, uint32_t k, uint32_t amax) {
    lane_sums sums = {{0}, {0}};
    for (uint32_t column = 0; column < n; column++)
        add_column(weights + (size_t)column * k, k, &sums);
    return depth_of(&sums, amax);
}

static ft_pack_fault check_column(const ft_pack_spec *spec, const int8_t *weights,
                                  const uint8_t *scales) {
    const int32_t limit = spec->bits == 4 ? 7 : 127;
    const uint32_t groups = scales ? (spec->k + spec->group - 1) / spec->group : 0;
    for (uint32_t g = 0; g < groups; g++)
        if (scales[g] < 1 || scales[g] > MAX_GROUP_SCALE) return FT_PACK_SCALE;
    int64_t positive = 0, negative = 0;
    for (uint32_t k = 0; k < spec->k; k++) {
        const int64_t w = weights[k];
        if (w < -limit || w > limit) return FT_PACK_WEIGHT;
        const int64_t scaled = scales ? w * scales[k / spec->group] : w;
        if (scaled > 0) positive += scaled;
        else negative -= scaled;
    }
    const int64_t larger = positive > negative ? positive : negative;
    return larger * spec->amax > INT32_MAX ? FT_PACK_OVERFLOW : FT_PACK_OK;
}

static ft_pack_fault check(const ft_pack_spec *spec, uint32_t *column) {
    *column = 0;
    if (!spec->n || !spec->k || spec->n > MAX_WIDTH || spec->k > MAX_WIDTH) return FT_PACK_SHAPE;
    if (spec->bits != 8 && spec->bits != 4) return FT_PACK_SHAPE;
    if (spec->amax != 127 && spec->amax != 255) return FT_PACK_SHAPE;
    if (spec->group != 0 && spec->group != 32 && spec->group != 64) return FT_PACK_SHAPE;
    if (spec->group && spec->bits != 4) return FT_PACK_SHAPE;
    if (spec->group_scales && !spec->group) return FT_PACK_SHAPE;
    const size_t groups = spec->group ? (spec->k + spec->group - 1) / spec->group : 0;
    for (uint32_t n = 0; n < spec->n; n++) {
        const uint8_t *scales = spec->group_scales ? spec->group_scales + n * groups : NULL;
        const ft_pack_fault fault = check_column(spec, spec->weights + (size_t)n * spec->k, scales);
        if (fault) {
            *column = n;
            return fault;
        }
    }
    return FT_PACK_OK;
}

/* Where column n lies: its panel, and how wide that panel is. */
typedef struct place {
    size_t panel_start; /* columns before the panel */
    size_t width, column;
} place;

static place locate(size_t n, size_t n_padded, size_t nr) {
    size_t start = n / nr * nr, width;
    while (n >= start + (width = ft_panel_width(nr, n_padded - start))) start += width;
    return (place){start, width, n - start};
}

void ft_put_weight(uint8_t *at, int weight, int is_nibble, int is_high) {
    if (!is_nibble) *at = (uint8_t)weight;
    else if (is_high) *at = (uint8_t)((*at & 0x0f) | (weight + 8) << 4);
    else *at = (uint8_t)((*at & 0xf0) | (weight + 8));
}

static void pack_column(const ft_pack_spec *spec, uint32_t n, const ft_packed *out) {
    const place p = locate(n, out->n_padded, out->nr);
    const size_t kr = out->kr;
    const int8_t *weights = spec->weights + (size_t)n * spec->k;
    uint8_t *panel = (uint8_t *)out->data + p.panel_start * out->k_padded / (1 + out->nibbles);
    for (size_t k = 0; k < spec->k; k++) {
        const size_t block = k / kr / (1 + out->nibbles);
        uint8_t *at = panel + (block * p.width + p.column) * kr + k % kr;
        ft_put_weight(at, weights[k], out->nibbles, k / kr % 2);
    }
}

static void pack_scales(const ft_pack_spec *spec, uint32_t n, const ft_packed *out) {
    const place p = locate(n, out->n_padded, out->nr);
    const size_t groups = (spec->k + spec->group - 1) / spec->group;
    uint8_t *panel = out->scales + p.panel_start * groups;
    for (size_t g = 0; g < groups; g++)
        panel[g * p.width + p.column] = spec->group_scales ? spec->group_scales[n * groups + g] : 1;
}

/* Every weight; 0 or -1 (memory). */
static int fill_panels(const ft_pack_spec *spec, ft_packed *out) {
    const size_t bytes = (size_t)out->n_padded * out->k_padded / (1 + out->nibbles);
    out->data = ft_alloc(bytes, 1);
    if (!out->data) return -1;
    out->bytes += bytes;
    if (out->nibbles) memset(out->data, 0x88, bytes); /* both nibbles: weight 0 */
    for (uint32_t n = 0; n < spec->n; n++) pack_column(spec, n, out);
    return 0;
}

ft_pack_fault ft_pack(const ft_isa *isa, const ft_pack_spec *spec, ft_packed *out,
                      uint32_t *column) {
    memset(out, 0, sizeof *out);
    const ft_pack_fault fault = check(spec, column);
    if (fault) return fault;

    const ft_gemm_kernel *kernel = &isa->gemm;
    const int is_row = kernel->column && spec->n == 1 && !spec->group;
    size_t blocks;
    out->n = spec->n;
    out->k = spec->k;
    out->strip = spec->may_skip && !is_row ? ft_choose_strip(isa, spec, &blocks) : 0;
    out->run = out->strip ? isa->blocks.run : kernel->run;
    out->nr = is_row ? 1 : out->strip ? out->strip : kernel->nr;
    out->kr = is_row ? 1 : kernel->kr;
    out->n_padded = (uint32_t)round_up(spec->n, is_row ? 1 : out->strip ? out->strip : kernel->pad);
    out->k_padded = (uint32_t)round_up(spec->k, is_row ? FT_PAD_COLUMN : FT_PAD_K);
    out->bits = spec->bits;
    out->nibbles = spec->bits == 4 && !is_row &&
                   (out->strip ? isa->blocks.nibbles : kernel->nibbles);
    out->group = spec->group;
    out->amax = spec->amax;

    lane_sums sums = {{0}, {0}};
    for (uint32_t n = 0; n < spec->n; n++)
        add_column(spec->weights + (size_t)n * spec->k, spec->k, &sums);
    out->depth_u7 = depth_of(&sums, 127);
    out->depth_u8 = depth_of(&sums, 255);

    const size_t groups = spec->group ? (spec->k + spec->group - 1) / spec->group : 0;
    if (groups) out->scales = ft_alloc(out->n_padded, groups);
    out->bytes = out->n_padded * groups;
    const int filled = (!groups || out->scales) &&
                       !(out->strip ? ft_fill_blocks(spec, blocks, out) : fill_panels(spec, out));
    if (!filled) {
        ft_pack_free(out);
        return FT_PACK_MEMORY;
    }
    for (uint32_t n = 0; groups && n < spec->n; n++) pack_scales(spec, n, out);
    if (spec->may_skip && !out->strip && ft_choose_lists(isa, spec) &&
        ft_fill_lists(isa, spec, out)) {
        ft_pack_free(out);
        return FT_PACK_MEMORY;
    }
    return FT_PACK_OK;
}

void ft_pack_free(ft_packed *packed) {
    ft_free(packed->data);
    ft_free(packed->scales);
    ft_free(packed->first);
    ft_free(packed->at);
    ft_free(packed->list);
    ft_free(packed->list_k);
    ft_free(packed->list_w);
    ft_free(packed->mult);
    ft_free(packed->add);
    memset(packed, 0, sizeof *packed);
}

int ft_pack_f32(const ft_isa *isa, const float *weights, const float *bias, uint32_t n, uint32_t k,
                ft_packed_f32 *out) {
    memset(out, 0, sizeof *out);
    out->n = n;
    out->k = k;
    out->nr = isa->gemm_f32.nr;
    out->n_padded = (uint32_t)round_up(n, out->nr == 1 ? 1 : 8);
    out->bytes = (size_t)out->n_padded * k * sizeof(float);
    out->data = ft_alloc((size_t)out->n_padded * k, sizeof(float));
    out->bias = ft_alloc(out->n_padded, sizeof(float));
    if (!out->data || !out->bias) {
        ft_pack_f32_free(out);
        return -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        const place p = locate(i, out->n_padded, out->nr);
        float *panel = out->data + p.panel_start * k;
        for (size_t j = 0; j < k; j++)
            panel[j * p.width + p.column] = weights[(size_t)i * k + j];
        out->bias[i] = bias[i] + 0.0f; /* -0.0 becomes 0.0: see ft_gemm_f32_fn */
    }
    return 0;
}

void ft_pack_f32_free(ft_packed_f32 *packed) {
    ft_free(packed->data);
    ft_free(packed->bias);
    memset(packed, 0, sizeof *packed);
}
