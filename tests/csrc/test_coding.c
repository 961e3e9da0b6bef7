/* Coded weights: what goes in comes out, and nothing else is read.  tests/test_export.py decodes
 * them by the documented form. */
#include "check.h"

#include "coding.h"

enum { MAX_COUNT = 4096, MAX_BYTES = MAX_COUNT * 10 };

static uint32_t mask_of(uint32_t bits) { return bits == 32 ? UINT32_MAX : (1u << bits) - 1; }

/* Values of which so many in a hundred are not 0; not the lowest of 4 and 8 bits. */
static void fill(uint64_t *seed, uint32_t *values, uint32_t count, uint32_t bits, uint32_t percent) {
    for (uint32_t i = 0; i < count; i++) {
        values[i] = random_below(seed, 100) < percent ? (uint32_t)random_bits(seed) : 0;
        if (bits < 32 && (values[i] & mask_of(bits)) == 1u << (bits - 1)) values[i] = 1;
    }
}

static int same_values(const uint32_t *a, const uint32_t *b, uint32_t count, uint32_t bits) {
    for (uint32_t i = 0; i < count; i++)
        if ((a[i] & mask_of(bits)) != (b[i] & mask_of(bits))) return 0;
    return 1;
}

static size_t check_round_trip(const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits,
                               uint8_t *coded) {
    static uint32_t decoded[MAX_COUNT];
    const size_t size = ft_coding_encode(values, n, k, bits, NULL, 0);
    memset(coded, 0xa5, MAX_BYTES);
    CHECK(size >= 4 && size < MAX_BYTES, "%u x %u, %u bits: %zu bytes", n, k, bits, size);
    CHECK(ft_coding_encode(values, n, k, bits, coded, size - 1) == size && coded[size - 1] == 0xa5,
          "%u x %u: one byte too few, and it is written", n, k);
    CHECK(ft_coding_encode(values, n, k, bits, coded, MAX_BYTES) == size, "%zu", size);
    CHECK(coded[size] == 0xa5, "%u x %u: a byte past the stream is written", n, k);
    memset(decoded, 0xa5, sizeof decoded);
    CHECK(ft_coding_decode(coded, size, n, k, bits, decoded) == 0 &&
              same_values(values, decoded, n * k, bits),
          "%u x %u, %u bits", n, k, bits);
    return size;
}

/* Cut anywhere or longer by a byte: refused.  With a byte changed: refused, or other values that a
 * weight may have.  The stream lies against a page that may not be touched. */
static void check_damage(uint64_t *seed, const uint8_t *coded, size_t size, uint32_t n, uint32_t k,
                         uint32_t bits) {
    static uint32_t decoded[MAX_COUNT];
    guarded area = guarded_map(size + 1);
    for (size_t cut = 0; cut < size; cut += 1 + cut / 16) {
        uint8_t *at = memcpy(guarded_end(&area, cut), coded, cut);
        CHECK(ft_coding_decode(at, cut, n, k, bits, decoded) == -1, "%zu of %zu bytes", cut, size);
    }
    uint8_t *longer = guarded_end(&area, size + 1);
    memcpy(longer, coded, size);
    longer[size] = 0;
    CHECK(ft_coding_decode(longer, size + 1, n, k, bits, decoded) == -1, "a byte follows");
    for (int turn = 0; turn < 20; turn++) {
        uint8_t *at = memcpy(guarded_end(&area, size), coded, size);
        at[random_below(seed, (uint32_t)size)] ^= (uint8_t)(1 + random_below(seed, 255));
        const int fault = ft_coding_decode(at, size, n, k, bits, decoded);
        CHECK(fault == 0 || fault == -1, "%d", fault);
        for (uint32_t i = 0; !fault && bits < 32 && i < n * k; i++)
            CHECK(decoded[i] <= mask_of(bits) && decoded[i] != 1u << (bits - 1), "%u", decoded[i]);
    }
    guarded_unmap(&area);
}

static const uint8_t known_bytes[] = {0x97, 0x04, 0xd6, 0xfc, 0x00};

/* The bytes themselves: a file of one version of this code is read by all others. */
static void test_known_bytes(void) {
    const uint32_t values[] = {0, 5, 0, 9, 0, 0};
    uint8_t coded[64];
    uint32_t decoded[6];
    const size_t size = ft_coding_encode(values, 2, 3, 4, coded, sizeof coded);
    CHECK(size == sizeof known_bytes && !memcmp(coded, known_bytes, size), "%zu bytes", size);
    for (size_t i = 0; size != sizeof known_bytes && i < size; i++) printf("0x%02x, ", coded[i]);
    CHECK(ft_coding_decode(known_bytes, sizeof known_bytes, 2, 3, 4, decoded) == 0 &&
              same_values(values, decoded, 6, 4),
          "decoded");
}

static void test_edges(void) {
    uint32_t values[1] = {0};
    CHECK(ft_coding_encode(values, 0, 5, 4, NULL, 0) == 0, "no rows");
    CHECK(ft_coding_encode(values, 5, 0, 4, NULL, 0) == 0, "no columns");
    CHECK(ft_coding_decode((const uint8_t *)"", 0, 0, 5, 4, values) == 0, "no rows need no bytes");
    CHECK(ft_coding_decode((const uint8_t *)"\0", 1, 0, 5, 4, values) == -1, "bytes for no rows");
    CHECK(ft_coding_decode((const uint8_t *)"", 0, 1, 1, 4, values) == -1, "no bytes for a value");
    /* A number below every bound: a 1 each time, and the lowest size is no zero. */
    uint8_t ones[64] = {0};
    for (size_t size = 4; size < sizeof ones; size++)
        CHECK(ft_coding_decode(ones, size, 1, 1, 8, values) == -1, "%zu zeros", size);
    for (uint32_t bits = 4; bits <= 8; bits += 4) {
        uint8_t coded[64];
        values[0] = 1u << (bits - 1);
        const size_t size = ft_coding_encode(values, 1, 1, bits, coded, sizeof coded);
        CHECK(ft_coding_decode(coded, size, 1, 1, bits, values) == -1, "the lowest of %u bits", bits);
    }
}

/* Zeros cost next to nothing, and what is alike in its column little. */
static void test_sizes(void) {
    static uint32_t values[MAX_COUNT];
    static uint8_t coded[MAX_BYTES];
    CHECK(check_round_trip(values, 64, 64, 4, coded) < 50, "zeros");
    for (uint32_t i = 0; i < MAX_COUNT; i++) values[i] = i % 64 < 4 ? 3 : 0;
    CHECK(check_round_trip(values, 64, 64, 4, coded) < 150, "four columns");
}

int main(void) {
    static uint32_t values[MAX_COUNT];
    static uint8_t coded[MAX_BYTES];
    static const uint32_t shapes[][2] = {{1, 1},  {1, 64},  {64, 1},   {3, 7},
                                         {7, 33}, {16, 16}, {1, 4000}, {5, 300}};
    static const uint32_t widths[] = {4, 8, 32}, densities[] = {0, 2, 20, 100}; /* percent */
    uint64_t seed = 1;
    test_known_bytes();
    test_edges();
    test_sizes();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const uint32_t n = shapes[s][0], k = shapes[s][1];
        for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
            for (size_t w = 0; w < 3; w++) {
                fill(&seed, values, n * k, widths[w], densities[i]);
                const size_t size = check_round_trip(values, n, k, widths[w], coded);
                check_damage(&seed, coded, size, n, k, widths[w]);
            }
        }
    }
    return check_report();
}
