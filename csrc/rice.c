#include "rice.h"

#include <string.h>

#define RICE_MAX 15 /* largest parameter */

static uint32_t value_mask(uint32_t bits) {
    return bits == 32 ? UINT32_MAX : (1u << bits) - 1;
}

/* Zeros from p to the next non-zero value of a row, or to its end. */
static uint32_t gap_at(const uint32_t *row, uint32_t p, uint32_t k, uint32_t mask) {
    uint32_t end = p;
    while (end < k && !(row[end] & mask))
        end++;
    return end - p;
}

/* The parameter with the shortest stream (the smallest of several), and that length in bits. */
static uint32_t best_parameter(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits,
                               uint64_t *length) {
    const uint32_t mask = value_mask(bits);
    uint64_t quotients[RICE_MAX + 1] = {0}, gaps = 0, nonzeros = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t *row = values + (size_t)i * k;
        for (uint32_t p = 0; p < k; p++) {
            const uint32_t gap = gap_at(row, p, k, mask);
            gaps++;
            for (uint32_t b = 0; b <= RICE_MAX; b++)
                quotients[b] += gap >> b;
            p += gap;
            nonzeros += p < k;
        }
    }
    uint32_t best = 0;
    uint64_t shortest = UINT64_MAX;
    for (uint32_t b = 0; b <= RICE_MAX; b++) {
        const uint64_t total = quotients[b] + gaps * (1 + b) + nonzeros * bits;
        if (total < shortest) {
            shortest = total;
            best = b;
        }
    }
    *length = shortest;
    return best;
}

typedef struct bit_writer {
    uint8_t *bytes; /* zeroed */
    size_t at;      /* bits written */
} bit_writer;

static void put_bits(bit_writer *w, uint32_t value, uint32_t count) {
    for (uint32_t i = 0; i < count; i++, w->at++)
        w->bytes[w->at / 8] |= (uint8_t)((value >> i & 1) << (w->at % 8));
}

size_t ft_rice_encode(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits, uint8_t *out) {
    if (n == 0 || k == 0)
        return 0;
    uint64_t length;
    const uint32_t b = best_parameter(values, n, k, bits, &length);
    const size_t size = 1 + (size_t)((length + 7) / 8);
    if (!out)
        return size;

    const uint32_t mask = value_mask(bits);
    memset(out, 0, size);
    out[0] = (uint8_t)b;
    bit_writer writer = {out + 1, 0};
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t *row = values + (size_t)i * k;
        for (uint32_t p = 0; p < k; p++) {
            const uint32_t gap = gap_at(row, p, k, mask);
            for (uint32_t q = gap >> b; q > 0; q--)
                put_bits(&writer, 1, 1);
            put_bits(&writer, 0, 1);
            put_bits(&writer, gap, b);
            p += gap;
            if (p < k)
                put_bits(&writer, row[p] & mask, bits);
        }
    }
    return size;
}

typedef struct bit_reader {
    const uint8_t *bytes;
    uint64_t at, end; /* in bits; at <= end */
} bit_reader;

/* 0, or -1 where fewer than `count` (at most 32) bits are left. */
static int get_bits(bit_reader *r, uint32_t count, uint32_t *value) {
    if (r->end - r->at < count)
        return -1;
    uint32_t v = 0;
    for (uint32_t i = 0; i < count; i++, r->at++)
        v |= (uint32_t)(r->bytes[r->at / 8] >> (r->at % 8) & 1) << i;
    *value = v;
    return 0;
}

/* A gap of at most `limit`; the unary part is left at once when it passes the limit. */
static int get_gap(bit_reader *r, uint32_t b, uint32_t limit, uint32_t *gap) {
    uint32_t quotient = 0, bit, low;
    for (;;) {
        if (get_bits(r, 1, &bit))
            return -1;
        if (!bit)
            break;
        if (++quotient > limit >> b)
            return -1;
    }
    if (get_bits(r, b, &low))
        return -1;
    *gap = quotient << b | low;
    return *gap > limit ? -1 : 0;
}

int ft_rice_decode(const uint8_t *data, size_t size, uint32_t n, uint32_t k, uint32_t bits,
                   uint32_t *values) {
    if (n == 0 || k == 0)
        return size == 0 ? 0 : -1;
    if (size == 0)
        return -1;
    const uint32_t b = data[0];
    if (b > RICE_MAX)
        return -1;
    memset(values, 0, (size_t)n * k * sizeof *values);

    bit_reader reader = {data + 1, 0, (uint64_t)(size - 1) * 8};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *row = values + (size_t)i * k;
        for (uint32_t p = 0; p < k; p++) {
            uint32_t gap;
            if (get_gap(&reader, b, k - p, &gap))
                return -1;
            p += gap;
            if (p == k)
                break;
            if (get_bits(&reader, bits, &row[p]) || row[p] == 0)
                return -1;
        }
    }

    /* What is left is less than a byte of zeros. */
    const uint64_t padding = reader.end - reader.at;
    uint32_t rest;
    return padding > 7 || get_bits(&reader, (uint32_t)padding, &rest) || rest != 0 ? -1 : 0;
}
