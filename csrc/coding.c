/* A range coder (Martin, "Range encoding", 1979) with the carry of LZMA's, for bits whose
 * probabilities adapt. */
#include "coding.h"

#include "pack.h"

#include <string.h>

enum { DENSITIES = 8, LEFTS = 3, SIGNS = 9, SIZES = 3, LEAST = 32, MOST = 65535 - LEAST, MEMORY = 60 };
#define TOP (1u << 24) /* the range stays at or above it */

/* The probability of a 1, in 65536ths, and how many bits it has seen. */
typedef struct estimate {
    uint16_t one, seen;
} estimate;

/* What the coder knows of the weights before this one: their zeros, signs and sizes. */
typedef struct model {
    estimate zero[DENSITIES][LEFTS][2], sign[SIGNS], size[SIZES][128];
    uint32_t bits, k;
    uint32_t *nonzeros; /* of every column, so far */
} model;

static int model_start(model *m, uint32_t k, uint32_t bits) {
    estimate *all = &m->zero[0][0][0];
    const size_t count = offsetof(model, bits) / sizeof *all;
    for (size_t i = 0; i < count; i++)
        all[i] = (estimate){32768, 0};
    m->bits = bits;
    m->k = k;
    m->nonzeros = ft_alloc(k, sizeof *m->nonzeros);
    return m->nonzeros ? 0 : -2;
}

static void learn(estimate *e, uint32_t bit) {
    const int32_t towards = bit ? 65535 : 0;
    const int32_t next = e->one + (towards - e->one) / (e->seen + 2);
    e->one = (uint16_t)(next < LEAST ? LEAST : next > MOST ? MOST : next);
    if (e->seen < MEMORY)
        e->seen++;
}

static int32_t value_of(uint32_t pattern, uint32_t bits) {
    if (bits == 32)
        return pattern != 0;
    const uint32_t sign = 1u << (bits - 1), low = pattern & (2 * sign - 1);
    return (int32_t)(low ^ sign) - (int32_t)sign;
}

static uint32_t class_of(int32_t value) { return value > 0 ? 1 : value < 0 ? 2 : 0; }

/* What is known at row i, column j: `row` points to the row's first value. */
typedef struct context {
    estimate *zero, *sign, *size;
} context;

static context context_of(model *m, const uint32_t *row, uint32_t i, uint32_t j) {
    const uint64_t c = m->nonzeros[j];
    const uint32_t density = c == 0       ? i >= 4
                             : 16 * c < i ? 2
                             : 8 * c < i  ? 3
                             : 4 * c < i  ? 4
                             : 2 * c < i  ? 5
                             : 4 * c < 3 * (uint64_t)i ? 6
                                                       : 7;
    const int32_t left = j > 0 ? value_of(row[j - 1], m->bits) : 0;
    const int32_t second = j > 1 ? value_of(row[j - 2], m->bits) : 0;
    const int32_t up = i > 0 ? value_of(row[(ptrdiff_t)j - (ptrdiff_t)m->k], m->bits) : 0;
    const uint32_t size = (uint32_t)(left < 0 ? -left : left);
    const uint32_t large = m->bits == 4 ? 3 : 24;
    return (context){
        &m->zero[density][(left != 0) + (second != 0)][up != 0],
        &m->sign[3 * class_of(left) + class_of(up)],
        m->size[size == 0 ? 0 : size < large ? 1 : 2],
    };
}

typedef struct encoder {
    uint64_t low, waiting; /* waiting: bytes that a carry may still change, the first one in `cache` */
    uint32_t range;
    uint8_t cache;
    size_t at, room; /* at: bytes needed, the first of them (always 0) included */
    uint8_t *out;
} encoder;

static void put_byte(encoder *e, uint8_t byte) {
    if (e->at && e->at <= e->room)
        e->out[e->at - 1] = byte;
    e->at++;
}

static void shift_low(encoder *e) {
    if (e->low < 0xff000000u || e->low > UINT32_MAX) {
        const uint8_t carry = (uint8_t)(e->low >> 32);
        put_byte(e, (uint8_t)(e->cache + carry));
        for (; e->waiting > 1; e->waiting--)
            put_byte(e, (uint8_t)(0xff + carry));
        e->waiting = 0;
        e->cache = (uint8_t)(e->low >> 24);
    }
    e->waiting++;
    e->low = (e->low & 0x00ffffff) << 8;
}

/* The part of the range that a 1 takes. */
static uint32_t bound_of(uint32_t range, const estimate *p) { return (range >> 12) * (p->one >> 4); }

static void put(encoder *e, estimate *p, uint32_t bit) {
    const uint32_t bound = bound_of(e->range, p);
    if (bit) {
        e->range = bound;
    } else {
        e->low += bound;
        e->range -= bound;
    }
    learn(p, bit);
    for (; e->range < TOP; e->range <<= 8)
        shift_low(e);
}

/* `count` bits, the highest first. */
static void put_tree(encoder *e, estimate *tree, uint32_t value, uint32_t count) {
    for (uint32_t node = 1; count--; node = 2 * node + (value >> count & 1))
        put(e, &tree[node], value >> count & 1);
}

static void put_plain(encoder *e, uint32_t value) {
    for (uint32_t i = 32; i--;) {
        e->range >>= 1;
        if (!(value >> i & 1))
            e->low += e->range;
        for (; e->range < TOP; e->range <<= 8)
            shift_low(e);
    }
}

static size_t encode(model *m, const uint32_t *values, uint32_t n, uint8_t *out, size_t room) {
    encoder e = {.range = UINT32_MAX, .waiting = 1, .out = out, .room = room};
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t *row = values + (size_t)i * m->k;
        for (uint32_t j = 0; j < m->k; j++) {
            const int32_t value = value_of(row[j], m->bits);
            const context c = context_of(m, row, i, j);
            put(&e, c.zero, value != 0);
            if (!value)
                continue;
            m->nonzeros[j]++;
            if (m->bits == 32) {
                put_plain(&e, row[j]);
            } else {
                put(&e, c.sign, value < 0);
                put_tree(&e, c.size, (uint32_t)(value < 0 ? -value : value) - 1, m->bits - 1);
            }
        }
    }
    for (int i = 0; i < 5; i++)
        shift_low(&e);
    return e.at - 1;
}

size_t ft_coding_encode(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits, uint8_t *out,
                        size_t room) {
    if (n == 0 || k == 0)
        return 0;
    model m;
    if (model_start(&m, k, bits))
        return 0;
    const size_t size = encode(&m, values, n, out, room);
    ft_free(m.nonzeros);
    return size;
}

typedef struct decoder {
    const uint8_t *next, *end;
    uint32_t range, code;
    int is_short; /* a byte was missing */
} decoder;

static void refill(decoder *d) {
    for (; d->range < TOP; d->range <<= 8) {
        d->is_short |= d->next == d->end;
        d->code = d->code << 8 | (d->is_short ? 0 : *d->next++);
    }
}

static uint32_t take(decoder *d, uint32_t bound) {
    const uint32_t bit = d->code < bound;
    if (bit) {
        d->range = bound;
    } else {
        d->code -= bound;
        d->range -= bound;
    }
    refill(d);
    return bit;
}

static uint32_t get(decoder *d, estimate *p) {
    const uint32_t bit = take(d, bound_of(d->range, p));
    learn(p, bit);
    return bit;
}

static uint32_t get_tree(decoder *d, estimate *tree, uint32_t count) {
    uint32_t node = 1;
    for (uint32_t i = 0; i < count; i++)
        node = 2 * node + get(d, &tree[node]);
    return node - (1u << count);
}

static uint32_t get_plain(decoder *d) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < 32; i++) {
        d->range >>= 1;
        const uint32_t bit = d->code < d->range;
        if (!bit)
            d->code -= d->range;
        value = value << 1 | bit;
        refill(d);
    }
    return value;
}

/* The pattern of a value that is not 0; 0 where the stream says what no encoder does. */
static uint32_t get_value(decoder *d, const model *m, const context *c) {
    if (m->bits == 32)
        return get_plain(d);
    const uint32_t negative = get(d, c->sign);
    const uint32_t size = get_tree(d, c->size, m->bits - 1) + 1;
    const uint32_t above = 1u << (m->bits - 1);
    return size == above ? 0 : negative ? 2 * above - size : size;
}

static int decode(decoder *d, model *m, uint32_t n, uint32_t *values) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *row = values + (size_t)i * m->k;
        for (uint32_t j = 0; j < m->k; j++) {
            const context c = context_of(m, row, i, j);
            row[j] = 0;
            if (!get(d, c.zero))
                continue;
            row[j] = get_value(d, m, &c);
            if (!row[j] || d->is_short)
                return -1;
            m->nonzeros[j]++;
        }
        if (d->is_short)
            return -1;
    }
    /* An encoder ends on the very number that is then left over. */
    return d->next == d->end && d->code == 0 ? 0 : -1;
}

int ft_coding_decode(const uint8_t *data, size_t size, uint32_t n, uint32_t k, uint32_t bits,
                     uint32_t *values) {
    if (n == 0 || k == 0)
        return size == 0 ? 0 : -1;
    if (size < 4)
        return -1;
    decoder d = {data, data + size, UINT32_MAX, 0, 0};
    for (int i = 0; i < 4; i++)
        d.code = d.code << 8 | *d.next++;
    model m;
    if (model_start(&m, k, bits))
        return -2;
    const int fault = decode(&d, &m, n, values);
    ft_free(m.nonzeros);
    return fault;
}
