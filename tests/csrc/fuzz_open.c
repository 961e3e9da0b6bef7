/* Opens and runs damaged files whose checksum has been made right again.
 *
 * With a fuzzing engine:  clang -DFUZZ_ENGINE -fsanitize=fuzzer,address,undefined ... fuzz_open.c
 * (write it a corpus first).  Without one it is a test of its own:
 *   fuzz_open [ROUNDS]          damages the files it builds, the same way every time
 *   fuzz_open --corpus FOLDER   writes the files it starts from
 *   fuzz_open --run FILE...     runs files, such as those that crashed an engine */
#include "check.h"

#include "network.h"

enum { ROWS = 3, DEFAULT_ROUNDS = 60000 };

static long opened;

static void run_model(const ft_model *model) {
    const size_t features = ft_features(model), outputs = ft_outputs(model);
    float *x = malloc(ROWS * features * sizeof *x), *scores = malloc(ROWS * outputs * sizeof *x);
    static const float values[] = {0, NAN, 1.5f, -2, 1e30f, -1e-40f, 0.3f};
    for (size_t i = 0; i < ROWS * features; i++)
        x[i] = values[i % 7];
    memset(scores, 0xa5, ROWS * outputs * sizeof *scores);
    CHECK(ft_predict(model, x, ROWS, scores) == FT_OK, "%s", ft_last_error());
    for (size_t i = 0; i < ROWS * outputs; i++) {
        uint32_t pattern;
        memcpy(&pattern, &scores[i], sizeof pattern);
        CHECK(pattern != 0xa5a5a5a5, "score %zu is not written", i);
    }
    free(scores);
    free(x);
}

/* Opens a copy of exactly that size, so that a sanitizer sees a read behind it. */
static void open_copy(const uint8_t *data, size_t size, int seal) {
    uint8_t *copy = malloc(size ? size : 1);
    ft_model *model = NULL;
    if (size)
        memcpy(copy, data, size);
    if (seal)
        file_seal(copy, size);
    const ft_status status = ft_open_memory(copy, size, &model);
    free(copy);
    CHECK((status == FT_OK) == (model != NULL), "status %d", status);
    CHECK(status == FT_OK || ft_last_error()[0], "status %d without a reason", status);
    if (model) {
        opened++;
        run_model(model);
        ft_close(model);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    open_copy(data, size, 1);
    if (checks_failed)
        abort();
    return 0;
}

#ifndef FUZZ_ENGINE

static const network_shape shapes[] = {
    {"float", FT_OP_STANDARDIZE, 3, 0, 2, {4, 2}, {32, 32}, {0}, {0, 1}, FT_SOFTMAX, 1, 0, 0, 0, 0, 0},
    {"encoded", FT_OP_ENCODE_DENSE, 3, 0, 1, {2}, {32}, {0}, {1}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
    {"int8", FT_OP_QUANTIZE, 4, 255, 2, {5, 1}, {8, 8}, {0}, {1, 0}, FT_SIGMOID, 1, 0, 0, 0, 0, 0},
    {"int4", FT_OP_ENCODE_DENSE, 3, 127, 3, {35, 5, 1}, {4, 4, 8}, {0, 32, 0}, {0, 0, 1},
     FT_SIGMOID, 1, 0, 0, 0, 0, 0},
    {"categories", FT_OP_ENCODE_DENSE, 4, 127, 2, {3, 1}, {8, 8}, {0}, {0}, FT_EXP, 0, 0, 0, 1, 0, 0},
    {"embedded", FT_OP_ENCODE_DENSE, 4, 255, 2, {3, 1}, {8, 8}, {0}, {0}, FT_LINEAR, 0, 0, 0, 2, 0, 0},
    {"embedded float", FT_OP_ENCODE_DENSE, 4, 0, 1, {2}, {32}, {0}, {0}, FT_LINEAR, 0, 0, 0, 2, 0, 0},
    {"residual", FT_OP_ENCODE_DENSE, 2, 127, 4, {3, 3, 3, 1}, {8, 8, 8, 8}, {0}, {0}, FT_LINEAR, 0, 0,
     0, 0, FT_TANH, 2},
    {"residual float", FT_OP_STANDARDIZE, 2, 0, 4, {3, 3, 3, 1}, {32, 32, 32, 32}, {0}, {0},
     FT_LINEAR, 0, 0, 0, 0, FT_GELU, 2},
    {"bounds", FT_OP_QUANTIZE, 2, 127, 3, {5, 5, 1}, {8, 8, 8}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0,
     BOUNDED, 1},
    {"bounds float", FT_OP_ENCODE_DENSE, 2, 0, 2, {5, 1}, {32, 32}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0,
     BOUNDED, 0},
    {"periodic", FT_OP_PERIODIC, 2, 0, 1, {2}, {32}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
    {"grouped", FT_OP_ENCODE_DENSE, 2, 127, 2, {66, 3}, {8, 4}, {0, 64}, {1, 1}, FT_SOFTMAX, 0, 0,
     0, 0, 0, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, ROOM = 1 << 16 };

static file_bytes seeds[SHAPES];

static size_t header_end(const uint8_t *data) { return 8 + (data[0] | (size_t)data[1] << 8); }

/* One change; most hit the data, where the form of the header cannot refuse them. */
static size_t damage(uint8_t *data, size_t size, uint64_t *seed) {
    static const uint32_t values[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128,
                                      255, 256, 258, 259, 0x7fff, 0x8000, 0xffff, 0x10000, 0xfffff,
                                      0x100000, 0x7fffffff, 0x80000000, 0xffffffff, 0x7f800000,
                                      0x7fc00000, 0x3f800000, 0x00000001, 0xff7fffff};
    const uint32_t value = values[random_below(seed, sizeof values / sizeof *values)];
    const size_t end = header_end(data) < size ? header_end(data) : 8;
    const size_t in_data = end + random_below(seed, (uint32_t)(size - end) + 1);
    const size_t anywhere = random_below(seed, (uint32_t)size), in_ops = end + anywhere % 80 * 2;
    const uint32_t width = 1u << random_below(seed, 3);
    switch (random_below(seed, 8)) {
    case 0:
        data[anywhere] ^= (uint8_t)(1 << random_below(seed, 8));
        break;
    case 1:
        if (in_data < size)
            data[in_data] ^= (uint8_t)(1 << random_below(seed, 8));
        break;
    case 2:
        if (in_data + width <= size)
            file_put(data + in_data, value, width);
        break;
    case 3:
    case 4:
        if (in_ops + width <= size)
            file_put(data + in_ops, value, width);
        break;
    case 5: /* another number of the same length in the header */
        for (size_t i = anywhere; i < end; i++)
            if (data[i] >= '0' && data[i] <= '9' && i > FILE_DIGITS + 16) {
                data[i] = (uint8_t)('0' + random_below(seed, 10));
                break;
            }
        break;
    case 6:
        if (random_below(seed, 8) == 0)
            return anywhere ? anywhere : 1;
        break;
    default: /* a piece of another file */
        if (in_data + 8 <= size) {
            const file_bytes *other = &seeds[random_below(seed, SHAPES)];
            memcpy(data + in_data, other->data + random_below(seed, (uint32_t)other->size - 8),
                   8 - random_below(seed, 8));
        }
    }
    return size;
}

static void test_damage(long rounds) {
    static uint8_t data[ROOM];
    uint64_t seed = 1;
    for (size_t i = 0; i < SHAPES; i++)
        open_copy(seeds[i].data, seeds[i].size, 0);
    CHECK(opened == SHAPES, "%ld of the undamaged files open", opened);
    opened = 0;
    for (long i = 0; i < rounds; i++) {
        const file_bytes *start = &seeds[i % SHAPES];
        size_t size = start->size;
        memcpy(data, start->data, size);
        for (uint32_t n = 1 + random_below(&seed, 3); n > 0 && size > 16; n--)
            size = damage(data, size, &seed);
        open_copy(data, size, i % 16 != 0);
    }
    /* If hardly any got through, only the outermost checks would be tested, if most, none. */
    CHECK(opened > rounds / 20 && opened < rounds / 2, "%ld of %ld open", opened, rounds);
}

static void write_corpus(const char *folder) {
    for (size_t i = 0; i < SHAPES; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.farthing", folder, shapes[i].what);
        FILE *out = fopen(path, "wb");
        CHECK(out && fwrite(seeds[i].data, 1, seeds[i].size, out) == seeds[i].size && !fclose(out),
              "%s", path);
    }
}

static void run_file(const char *path) {
    static uint8_t data[1 << 24];
    FILE *in = fopen(path, "rb");
    CHECK(in != NULL, "%s", path);
    if (!in)
        return;
    LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, in));
    fclose(in);
}

int main(int argc, char **argv) {
    for (size_t i = 0; i < SHAPES; i++) {
        network net = network_new(&shapes[i], i);
        seeds[i] = network_file(&net);
        network_free(&net);
        CHECK(seeds[i].size < ROOM, "%s: %zu bytes", shapes[i].what, seeds[i].size);
    }
    if (argc == 3 && !strcmp(argv[1], "--corpus"))
        write_corpus(argv[2]);
    else if (argc > 2 && !strcmp(argv[1], "--run"))
        for (int i = 2; i < argc; i++)
            run_file(argv[i]);
    else
        test_damage(argc > 1 ? atol(argv[1]) : DEFAULT_ROUNDS);
    for (size_t i = 0; i < SHAPES; i++)
        free(seeds[i].data);
    return check_report();
}

#endif
