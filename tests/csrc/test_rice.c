/* Rice-coded tensors: the bytes of the documented form, and no others. */
#include "check.h"

#include "rice.h"

enum { MAX_COUNT = 4096 };

static uint32_t mask_of(uint32_t bits) { return bits == 32 ? UINT32_MAX : (1u << bits) - 1; }

/* The documented form, one bit a byte, for a given parameter. */
static size_t reference(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits, uint32_t b,
                        uint8_t *out) {
    static uint8_t stream[MAX_COUNT * 80];
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t *row = values + (size_t)i * k;
        uint32_t p = 0;
        while (p < k) {
            uint32_t g = 0;
            while (p + g < k && (row[p + g] & mask_of(bits)) == 0)
                g++;
            for (uint32_t q = 0; q < g >> b; q++)
                stream[at++] = 1;
            stream[at++] = 0;
            for (uint32_t j = 0; j < b; j++)
                stream[at++] = g >> j & 1;
            p += g;
            if (p < k) {
                for (uint32_t j = 0; j < bits; j++)
                    stream[at++] = row[p] >> j & 1;
                p++;
            }
        }
    }
    memset(out, 0, 1 + (at + 7) / 8);
    out[0] = (uint8_t)b;
    for (size_t j = 0; j < at; j++)
        out[1 + j / 8] |= (uint8_t)(stream[j] << j % 8);
    return 1 + (at + 7) / 8;
}

static void fill(uint64_t *seed, uint32_t *values, uint32_t count, uint32_t percent) {
    for (uint32_t i = 0; i < count; i++)
        values[i] = random_below(seed, 100) < percent ? (uint32_t)random_bits(seed) : 0;
}

static int same_values(const uint32_t *a, const uint32_t *b, uint32_t count, uint32_t bits) {
    for (uint32_t i = 0; i < count; i++)
        if ((a[i] & mask_of(bits)) != b[i])
            return 0;
    return 1;
}

static void check_round_trip(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits) {
    static uint8_t expected[MAX_COUNT * 10], coded[MAX_COUNT * 10];
    static uint32_t decoded[MAX_COUNT];
    size_t best = SIZE_MAX;
    for (uint32_t b = 0; b < 16; b++) {
        const size_t size = reference(values, n, k, bits, b, expected);
        if (size < best)
            best = size;
        memset(decoded, 0xa5, sizeof decoded);
        CHECK(ft_rice_decode(expected, size, n, k, bits, decoded) == 0 &&
                  same_values(values, decoded, n * k, bits),
              "%u x %u, %u bits, parameter %u", n, k, bits, b);
    }
    const size_t size = ft_rice_encode(values, n, k, bits, NULL);
    CHECK(size == best, "%u x %u, %u bits: %zu bytes, best is %zu", n, k, bits, size, best);
    memset(coded, 0xa5, sizeof coded);
    CHECK(ft_rice_encode(values, n, k, bits, coded) == size, "%zu", size);
    CHECK(coded[size] == 0xa5, "%u x %u: a byte past the stream is written", n, k);
    CHECK(coded[0] < 16 && reference(values, n, k, bits, coded[0], expected) == size &&
              memcmp(coded, expected, size) == 0,
          "%u x %u, %u bits: not the documented bytes", n, k, bits);
}

/* Cut anywhere, longer by a byte, or with a bit of its padding set: refused.  The stream lies
 * against a page that may not be touched. */
static void check_damage(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits) {
    static uint8_t coded[MAX_COUNT * 10];
    static uint32_t decoded[MAX_COUNT];
    const size_t size = ft_rice_encode(values, n, k, bits, coded);
    guarded area = guarded_map(size + 1);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *at = memcpy(guarded_end(&area, cut), coded, cut);
        CHECK(ft_rice_decode(at, cut, n, k, bits, decoded) == -1, "%zu of %zu bytes", cut, size);
    }
    uint8_t *longer = guarded_end(&area, size + 1);
    memcpy(longer, coded, size);
    longer[size] = 0;
    CHECK(ft_rice_decode(longer, size + 1, n, k, bits, decoded) == -1, "a byte follows");
    guarded_unmap(&area);
}

static void test_documented_bytes(void) {
    /* Row 0: gap 1, value 5, gap 1 to the end: 10 1010 10.  Row 1: gap 0, value -7, gap 2 to
     * the end: 0 1001 110.  The first bit of a byte is its least significant one. */
    const uint32_t values[] = {0, 5, 0, 9, 0, 0};
    const uint8_t expected[] = {0, 0x55, 0x72};
    uint8_t coded[3];
    uint32_t decoded[6];
    CHECK(ft_rice_encode(values, 2, 3, 4, coded) == 3, "size");
    CHECK(memcmp(coded, expected, 3) == 0, "%02x %02x %02x", coded[0], coded[1], coded[2]);
    CHECK(ft_rice_decode(expected, 3, 2, 3, 4, decoded) == 0 && !memcmp(decoded, values, 24),
          "decoded");
}

static void refused(const uint8_t *data, size_t size, uint32_t n, uint32_t k, uint32_t bits,
                    const char *what) {
    uint32_t decoded[64];
    CHECK(ft_rice_decode(data, size, n, k, bits, decoded) == -1, "%s", what);
}

static void test_refusals(void) {
    uint32_t decoded[1];
    CHECK(ft_rice_encode(decoded, 0, 5, 4, NULL) == 0, "no rows");
    CHECK(ft_rice_encode(decoded, 5, 0, 4, NULL) == 0, "no columns");
    CHECK(ft_rice_decode((const uint8_t *)"", 0, 0, 5, 4, decoded) == 0, "no rows need no bytes");
    refused((const uint8_t *)"\0", 1, 0, 5, 4, "bytes for no rows");
    refused((const uint8_t *)"", 0, 1, 1, 4, "no bytes for one value");
    refused((const uint8_t *)"\x10\0\0\0", 4, 1, 1, 4, "parameter 16");
    refused((const uint8_t *)"\x00\x00", 2, 1, 1, 4, "an explicit zero value");
    refused((const uint8_t *)"\x00\x03", 2, 1, 1, 4, "a gap past the end, in its unary part");
    refused((const uint8_t *)"\x02\x7e", 2, 1, 2, 4, "a gap past the end, in its low bits");
    refused((const uint8_t *)"\x00\x11", 2, 1, 1, 4, "padding that is not 0");
    refused((const uint8_t *)"\x00\xff\xff\xff\xff", 5, 1, 64, 4, "a unary part without end");
    const uint8_t empty_row[] = {0, 0x01};
    CHECK(ft_rice_decode(empty_row, 2, 1, 1, 4, decoded) == 0 && decoded[0] == 0, "an empty row");
}

int main(void) {
    static uint32_t values[MAX_COUNT];
    static const uint32_t shapes[][2] = {{1, 1},  {1, 64},  {64, 1},   {3, 7},
                                         {7, 33}, {16, 16}, {1, 4000}, {5, 300}};
    static const uint32_t widths[] = {4, 8, 32}, densities[] = {0, 2, 20, 100}; /* percent */
    uint64_t seed = 1;
    test_documented_bytes();
    test_refusals();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const uint32_t n = shapes[s][0], k = shapes[s][1];
        for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
            for (size_t w = 0; w < 3; w++) {
                fill(&seed, values, n * k, densities[i]);
                check_round_trip(values, n, k, widths[w]);
                check_damage(values, n, k, widths[w]);
            }
        }
    }
    return check_report();
}
