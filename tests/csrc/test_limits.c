/* Values that a model may not have, and the last ones that it may. */
#include "refusal.h"

static void expect_float(const network_shape *shape, const char *tensor, size_t index, float value,
                         const char *words) {
    begin(shape);
    set_float(tensor, index, value);
    expect(words);
}

static void test_float_values(void) {
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 4; i++) {
        expect_float(&plain, "input.shift", 4, bad[i], "'input.shift': value 4 is not finite");
        expect_float(&plain, "input.scale", 0, bad[i], "'input.scale': value 0 is not finite");
        expect_float(&plain, "input.fill", 1, bad[i], "tensor 'input.fill': value 1 is not finite");
        expect_float(&sparse, "input.fill", 1, bad[i], "tensor 'input.fill': value 1 is not");
        expect_float(&plain, "dense0.weight", 5 * 2 + 3, bad[i],
                     "layer dense0, output 2: weight 3 is not finite");
        expect_float(&plain, "dense0.bias", 6, bad[i], "'dense0.bias': value 6 is not finite");
        expect_float(&encoded, "dense0.edges", 2, bad[i], "tensor 'dense0.edges': value 2 is not");
        expect_float(&encoded, "dense0.mult", 3, bad[i], "layer dense0, output 3: mult must be");
        expect_float(&encoded, "dense1.add", 16, bad[i], "layer dense1, output 16: mult must be");
    }
    expect_float(&encoded, "dense0.fill", 0, INFINITY, "tensor 'dense0.fill': value 0 is infinite");
    expect_float(&encoded, "dense2.mult", 1, 0.0f, "layer dense2, output 1: mult must be");
    expect_float(&encoded, "dense2.mult", 1, -1e-3f, "layer dense2, output 1: mult must be");
    /* A feature more or less with a learnt missing column changes the width of the weights. */
    expect_float(&encoded, "dense0.fill", 0, NAN, "tensor 'dense0.weight': is I8 [33,");
}

static void test_weight_values(void) {
    begin(&encoded);
    set_byte("dense0.weight", (size_t)file_find(&builder, "dense0.weight")->shape[1] * 4 + 2, 0x80);
    expect("layer dense0, output 4: weight 2 is -128, the least allowed is -127");
    begin(&encoded);
    set_byte("dense1.weight", 17 * 2 + 3, 0x08); /* row 2, weights 6 and 7 */
    expect("layer dense1, output 2: weight 6 is -8, the least allowed is -7");
    begin(&encoded);
    set_byte("dense1.weight", 17 * 5 + 16, 0x10); /* 33 weights: the last nibble pads */
    expect("layer dense1, output 5: the padding nibble is not 0");
    begin(&encoded);
    set_byte("dense1.group_scales", 2 * 7 + 1, 0);
    expect("layer dense1, output 7: group scale 1 is 0, allowed are 1 to 63");
    set_byte("dense1.group_scales", 2 * 7 + 1, 64);
    expect("layer dense1, output 7: group scale 1 is 64, allowed are 1 to 63");
    set_byte("dense1.group_scales", 2 * 7 + 1, 63);
    expect_valid("the largest group scale");
}

/* The coded weights of a layer of `sparse`, replaced by others. */
static void set_coded(const char *tensor, const uint32_t *patterns, uint32_t n, uint32_t k,
                      uint32_t bits) {
    uint8_t stream[256];
    begin(&sparse);
    file_tensor *t = file_find(&builder, tensor);
    free(t->data);
    t->size = t->shape[0] = ft_coding_encode(patterns, n, k, bits, stream, sizeof stream);
    t->data = malloc(t->size);
    memcpy(t->data, stream, t->size);
}

static void test_coded_values(void) {
    begin(&sparse);
    file_tensor *t = file_find(&builder, "dense0.weight");
    t->shape[0] = --t->size;
    expect("layer dense0: the coded weights are not exactly 9 x 11 values of 4 bits");
    /* One weight of -8 in a 9 x 11 tensor of zeros, then -128 for the layer of 8 bits: no codes. */
    const uint32_t patterns[99] = {[40] = 8}, lowest[9] = {[8] = 128};
    set_coded("dense0.weight", patterns, 9, 11, 4);
    expect("layer dense0: the coded weights are not exactly 9 x 11 values of 4 bits");
    set_coded("dense1.weight", lowest, 1, 9, 8);
    expect("layer dense1: the coded weights are not exactly 1 x 9 values of 8 bits");
}

/* amax * sum |w| * mult + |add| may not reach `limit`, to the last value that fits.  The layer
 * has two outputs of 17 weights of 8 bits and inputs of up to 127. */
static void expect_limit(const char *layer, float limit, const char *power) {
    char weight[16], mult[16], add[16], first[64], second[64];
    snprintf(weight, sizeof weight, "%s.weight", layer);
    snprintf(mult, sizeof mult, "%s.mult", layer);
    snprintf(add, sizeof add, "%s.add", layer);
    snprintf(first, sizeof first, "layer %s, output 0: its value can pass %s (", layer, power);
    snprintf(second, sizeof second, "layer %s, output 1: its value can pass %s (", layer, power);
    const float below = nextafterf(limit, 0);
    set_all(weight, 0);
    set_byte(weight, 0, 127);
    set_byte(weight, 1, (uint32_t)-127);
    set_float(add, 0, 0);
    const double sum = 127 * 254;
    const float largest = (float)(limit / sum);
    const float fits = largest * sum < limit ? largest : nextafterf(largest, 0);
    set_float(mult, 0, fits);
    expect_valid("the largest multiplier");
    set_float(mult, 0, nextafterf(fits, INFINITY));
    expect(first);
    const float half = limit / 65536; /* the sum is 32258 times it: a little less than half */
    set_float(mult, 0, half);
    const float offset = (float)(limit - sum * half);
    set_float(add, 0, -offset);
    expect(first);
    set_float(add, 0, nextafterf(-offset, 0));
    expect_valid("the lowest offset");
    set_float(add, 1, limit);
    expect(second);
    set_float(add, 1, below);
    expect_valid("the highest offset");
    set_float(add, 1, 0);
    set_float(mult, 1, 3e38f);
    expect_valid("any multiplier of zeros");
    set_byte(weight, 17, 1);
    expect(second);
}

static void test_output_limits(void) {
    const network_shape shape = {"two layers", FT_OP_QUANTIZE, 17, 127, 2, {2, 2}, {8, 8}, {0},
                                 {0}, FT_LINEAR, 0, 0, 0, 0, 0, 0};
    begin(&shape);
    expect_limit("dense0", 0x1p30f, "2^30");
    begin(&encoded);
    expect_limit("dense2", 0x1p127f, "2^127");
}

/* amax * max(sum of positive, sum of negative weights) may not pass 2^31 - 1. */
static void test_int32_limit(void) {
    enum { K = 66312 }; /* 255 * 127 * 66312 = 2147513... is above, two fewer are below */
    network_shape shape = {"long", FT_OP_QUANTIZE, K, 255, 1, {2}, {8}, {0}, {0}, FT_LINEAR,
                           0, 0, 0, 0, 0, 0};
    begin(&shape);
    set_float("dense0.mult", 0, 1e-9f);
    set_float("dense0.mult", 1, 1e-9f);
    memset(file_find(&builder, "dense0.weight")->data, 127, 2 * K);
    expect("layer dense0, output 0: its sum can pass int32");
    const uint32_t most = 2147483647u / (255 * 127);
    CHECK(most < K, "the case is too small");
    memset(file_find(&builder, "dense0.weight")->data + most, 0, K - most);
    memset(file_find(&builder, "dense0.weight")->data + K, 0x81, K);
    expect("layer dense0, output 1: its sum can pass int32"); /* all -127 */
    memset(file_find(&builder, "dense0.weight")->data + K, 127, most);
    memset(file_find(&builder, "dense0.weight")->data + K + most, 0x81, K - most);
    expect_valid("the signs count apart");
}

static void test_encoder_values(void) {
    begin(&encoded);
    set_u32("dense0.bins", 0, 259);
    expect("layer dense0, feature 0: 259 bins, allowed are 0 to 258");
    set_u32("dense0.bins", 0, (uint32_t)-1);
    expect("layer dense0, feature 0: -1 bins, allowed are 0 to 258");
    begin(&encoded);
    set_float("dense0.edges", 1, -100);
    expect("layer dense0, feature 0: edges are not strictly increasing");
    set_float("dense0.edges", 0, -100);
    expect("layer dense0, feature 0: edges are not strictly increasing");
    set_float("dense0.edges", 0, nextafterf(-100, -INFINITY));
    expect_valid("neighbouring floats");
    begin(&encoded);
    set_float("dense0.edges", 0, -3.4e38f);
    set_float("dense0.edges", 1, -3.3e38f);
    set_float("dense0.edges", 2, 3.3e38f);
    expect("layer dense0, feature 0: ");

    const network_shape constant = {"constant", FT_OP_ENCODE_DENSE, 1, 127, 1, {2}, {8}, {0}, {0},
                                    FT_LINEAR, 0, 0, 0, 0, 0, 0};
    begin(&constant);
    set_u32("dense0.bins", 0, 0);
    file_find(&builder, "dense0.edges")->size = file_find(&builder, "dense0.edges")->shape[0] = 0;
    expect("layer dense0, feature 0: no feature has a bin");
}

int main(void) {
    test_float_values();
    test_weight_values();
    test_coded_values();
    test_output_limits();
    test_int32_limit();
    test_encoder_values();
    file_builder_free(&builder);
    return check_report();
}
