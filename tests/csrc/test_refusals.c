/* Files that are well formed but no model: one thing changed at a time, each refused. */
#include "refusal.h"

/* Where a field of a record lies. */
enum field {
    KIND = 0, BITS = 2, INPUTS = 4, OUTPUTS = 8, TENSOR = 12, GROUP = 16, ACTIVATION = 20,
    STORAGE = 22, AMAX_IN = 24, AMAX_OUT = 26, SOURCE = 28
};

static int is_wide(enum field field) {
    return (field >= INPUTS && field <= GROUP) || field == SOURCE;
}

static void set_field(uint32_t op, enum field field, uint32_t value) {
    file_put(builder.tensors[0].data + op * 32 + field, value, is_wide(field) ? 4 : 2);
}

static void expect_field(const network_shape *shape, uint32_t op, enum field field, uint32_t value,
                         const char *words) {
    begin(shape);
    set_field(op, field, value);
    expect(words);
}

/* Another link, ReLU or none in a float layer, or an encoding of 8 bits is another model that
 * the same tensors make. */
static int is_other_model(size_t shape, uint32_t op, enum field field, uint32_t value) {
    if (field == ACTIVATION && op == 3)
        return value == 0 || (value >= 2 && value <= 4);
    if (field == ACTIVATION)
        return shape == 2 && op > 0 && value < 2;
    return field == AMAX_IN && shape == 0 && op == 0 && value == 255;
}

/* Every field of every record set to every other value that could matter. */
static void test_fields(void) {
    static const enum field fields[] = {KIND,  BITS,       INPUTS,  OUTPUTS, TENSOR,  GROUP,
                                        AMAX_IN, ACTIVATION, STORAGE, AMAX_OUT, SOURCE};
    static const uint32_t values[] = {0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 16, 31, 32, 33, 63, 64, 65, 126, 127,
                                      128, 254, 255, 256, 32768, 65535, 65536, 1048576, 1048577,
                                      2147483648u, 4294967295u};
    const network_shape *all[] = {&encoded, &sparse, &plain};
    long refused = 0, accepted = 0;
    for (size_t s = 0; s < 3; s++) {
        begin(all[s]);
        const size_t bytes = builder.tensors[0].size;
        uint8_t *original = malloc(bytes), *ops = builder.tensors[0].data;
        memcpy(original, ops, bytes);
        for (uint32_t op = 0; op < bytes / 32; op++) {
            for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
                for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                    if (values[v] > 65535 && !is_wide(fields[f]))
                        continue;
                    memcpy(ops, original, bytes);
                    set_field(op, fields[f], values[v]);
                    if (!memcmp(ops, original, bytes))
                        continue;
                    ft_model *model = NULL;
                    const ft_status status = open_builder(&model);
                    const int valid = is_other_model(s, op, fields[f], values[v]);
                    CHECK((status == FT_OK) == valid, "%s: operation %u, field at %d = %u: %d",
                          all[s]->what, op, (int)fields[f], values[v], status);
                    refused += status != FT_OK;
                    accepted += status == FT_OK;
                    ft_close(model);
                }
            }
        }
        free(original);
    }
    CHECK(refused > 3000 && accepted > 5, "%ld refused, %ld accepted", refused, accepted);
}

/* The reason names the operation, the field, its value and what is allowed. */
static void test_field_reasons(void) {
    expect_field(&encoded, 0, KIND, 7, "operation 0: kind is 7, must be 1 (standardize), 2");
    expect_field(&encoded, 1, KIND, 4, "operation 1 (dense1): kind is 4, must be 3 (dense)");
    expect_field(&encoded, 3, KIND, 3, "kind is 3, must be 5 (link) at the end");
    expect_field(&encoded, 1, BITS, 5, "operation 1 (dense1): bits is 5, must be 32, 8 or 4");
    expect_field(&encoded, 0, INPUTS, 0, "operation 0 (dense0): inputs is 0, must be 1 to 1048576");
    expect_field(&encoded, 0, OUTPUTS, 1048577, "outputs is 1048577, must be 1 to 1048576");
    expect_field(&encoded, 1, INPUTS, 32,
                 "(dense1): inputs is 32, but outputs of the operation before it is 33");
    expect_field(&encoded, 1, TENSOR, 1, "'dense1': its first tensor is given as 1, but is 7");
    expect_field(&encoded, 1, GROUP, 48, "group_size is 48, must be 0, 32 or 64");
    expect_field(&encoded, 0, GROUP, 32, "operation 0 (dense0): group_size is 32, must be 0");
    expect_field(&encoded, 2, GROUP, 32, "operation 2 (dense2): group_size is 32, must be 0");
    expect_field(&encoded, 1, ACTIVATION, 2, "activation is 2, must be 0 (none) or 1 (ReLU)");
    expect_field(&encoded, 1, ACTIVATION, 0, "activation is 0, must be 1 (ReLU) before the last");
    expect_field(&encoded, 2, ACTIVATION, 1, "activation is 1, must be 0 in the last integer");
    expect_field(&encoded, 3, ACTIVATION, 1, "operation 3: activation is 1, must be 0 (none), 2");
    expect_field(&encoded, 1, STORAGE, 2, "storage is 2, must be 0 (plain) or 1 (coded)");
    expect_field(&encoded, 1, AMAX_IN, 126, "amax_in is 126, must be 127 or 255");
    expect_field(&encoded, 1, AMAX_IN, 255,
                 "amax_in is 255, but amax_out of the operation before it is 127");
    expect_field(&encoded, 1, AMAX_OUT, 0, "amax_out is 0, must be 127 or 255 before the last");
    expect_field(&encoded, 2, AMAX_OUT, 127, "amax_out is 127, must be 0 in the last layer");
    expect_field(&encoded, 1, SOURCE, 1, "operation 1 (dense1): source is 1, must be 0");
    expect_field(&encoded, 3, TENSOR, 3, "operation 3: tensor is 3, must be 0");
    expect_field(&encoded, 3, OUTPUTS, 1, "operation 3: outputs is 1, must be as many as inputs");
    expect_field(&plain, 0, OUTPUTS, 4, "operation 0 (input): outputs is 4, must be as many as");
    expect_field(&plain, 1, AMAX_IN, 127, "operation 1 (dense0): amax_in is 127, must be 0");
    expect_field(&plain, 1, BITS, 8, "amax_in is 0, must be 127 or 255 for integer weights");
    expect_field(&sparse, 0, AMAX_OUT, 100, "operation 0 (input): amax_out is 100, must be 127 or");
    expect_field(&sparse, 1, BITS, 32, "operation 1 (dense0): amax_in is 255, must be 0");

    begin(&plain);
    memmove(builder.tensors[0].data + 32, builder.tensors[0].data + 96, 32);
    builder.tensors[0].size = builder.tensors[0].shape[0] = 64;
    expect("operation 0 (input): kind is 1, must be followed by at least one dense layer");
    builder.tensors[0].size = builder.tensors[0].shape[0] = 63;
    expect("tensor 'ops': 63 bytes are not two or more records of 32");
    builder.tensors[0].size = builder.tensors[0].shape[0] = 32;
    expect("tensor 'ops': 32 bytes are not two or more");
    free(builder.tensors[0].data);
    builder.tensors[0].data = calloc(100, 32);
    builder.tensors[0].size = builder.tensors[0].shape[0] = 3200;
    expect("tensor 'ops': 100 operations, but only 11 tensors");
}

/* ---- tensors ----------------------------------------------------------------------------- */

static void swap_with_next(uint32_t i) {
    const file_tensor t = builder.tensors[i];
    builder.tensors[i] = builder.tensors[i + 1];
    builder.tensors[i + 1] = t;
}

static void remove_tensor(uint32_t i) {
    free(builder.tensors[i].data);
    builder.count--;
    memmove(&builder.tensors[i], &builder.tensors[i + 1],
            (builder.count - i) * sizeof *builder.tensors);
}

/* Each tensor in turn missing, renamed, out of order, of another type or shape. */
static void test_tensors(void) {
    const network_shape *all[] = {&encoded, &sparse, &plain, &categorical};
    for (size_t s = 0; s < 4; s++) {
        begin(all[s]);
        expect_valid(all[s]->what);
        const uint32_t count = builder.count;
        for (uint32_t i = 0; i < count; i++) {
            begin(all[s]);
            remove_tensor(i);
            expect("is missing");
            begin(all[s]);
            strcat(builder.tensors[i].name, "x");
            expect("is missing");
            begin(all[s]);
            if (i + 1 < count) {
                swap_with_next(i);
                expect("is missing");
            }
            begin(all[s]);
            file_tensor *t = &builder.tensors[i];
            t->dtype = t->dtype == FT_F32   ? FT_I32
                       : t->dtype == FT_I32 ? FT_F32
                       : t->dtype == FT_U8  ? FT_I8
                                            : FT_U8;
            expect("expected");
            begin(all[s]);
            t->dims = 3 - t->dims; /* the same bytes as n x 1, or a matrix in one dimension */
            if (t->dims == 1)
                t->shape[0] *= t->shape[1];
            t->shape[1] = 1;
            expect("expected");
            begin(all[s]);
            const int counted = strcmp(t->name, "ops") && strcmp(t->name, "info") &&
                                !strstr(t->name, ".text") && t->shape[0] &&
                                !(s && s < 3 && strstr(t->name, "weight"));
            if (counted) {
                t->shape[0]--;
                t->size = (size_t)(t->shape[0] * (t->dims == 2 ? t->shape[1] : 1)) *
                          (t->dtype == FT_F32 || t->dtype == FT_I32 ? 4 : 1);
                expect("expected");
            }
        }
        begin(all[s]);
        file_add(&builder, "dense9.weight", FT_U8, 1, 0, "x");
        expect("tensor 'dense9.weight' belongs to no operation");
    }
    begin(&encoded);
    file_find(&builder, "dense1.weight")->shape[0] = 17;
    file_find(&builder, "dense1.weight")->shape[1] = 16;
    file_find(&builder, "dense1.weight")->size = 17 * 16;
    expect("tensor 'dense1.weight': is U8 [17, 16], expected U8 [17, 17]");
}

/* ---- text and sizes --------------------------------------------------------------------- */

static void test_names(void) {
    begin(&plain); /* Größe_0 and so on: 9 bytes each */
    set_u32("names.offsets", 0, 1);
    expect("tensor 'names.offsets': value 0 is 1, must be 0 to 0");
    begin(&plain);
    set_u32("names.offsets", 2, 8);
    expect("tensor 'names.offsets': value 2 is 8, must be 9 to 45");
    set_u32("names.offsets", 2, 46);
    expect("tensor 'names.offsets': value 2 is 46, must be 9 to 45");
    set_u32("names.offsets", 2, (uint32_t)-1);
    expect("tensor 'names.offsets': value 2 is -1, must be 9 to 45");
    begin(&plain);
    set_u32("names.offsets", 5, 44);
    expect("tensor 'names.offsets': value 5 is 44, must be 45 to 45");
    begin(&plain);
    set_u32("names.offsets", 1, 3); /* between the two bytes of a character */
    expect("the name of feature 0 is not UTF-8");
    begin(&plain);
    set_u32("names.offsets", 1, 0);
    expect_valid("an empty name");

    static const char *const bad[] = {"\xff", "\x80", "\xc3", "\xc3\x28", "\xc0\xaf", "\xc1\xbf",
                                      "\xe0\x80\xaf", "\xed\xa0\x80", "\xe2\x82", "\xe2\x82\xc3",
                                      "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\xfe",
                                      "\xf8\x88\x80\x80\x80"};
    static const char *const good[] = {"a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
                                       "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(&plain);
        memset(builder.tensors[builder.count - 3].data, 'x', 45);
        memcpy(builder.tensors[builder.count - 3].data + 45 - strlen(bad[i]), bad[i],
               strlen(bad[i]));
        expect("the name of feature 4 is not UTF-8");
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        begin(&plain);
        memset(builder.tensors[builder.count - 3].data, 'x', 45);
        memcpy(builder.tensors[builder.count - 3].data + 45 - strlen(good[i]), good[i],
               strlen(good[i]));
        expect_valid(good[i]);
    }
    begin(&plain);
    set_byte("names.text", 10, 0);
    expect("the name of feature 1 is not UTF-8, or has a NUL");
    begin(&plain);
    set_byte("info", 0, 0xff);
    expect("tensor 'info': not UTF-8");
    set_byte("info", 0, 0);
    expect("tensor 'info': not UTF-8");
}

/* A model of one float layer whose operation claims these widths. */
static void begin_claim(uint32_t features, uint32_t outputs, uint32_t storage) {
    const network_shape shape = {"claim", FT_OP_STANDARDIZE, features, 0, 1, {1}, {32}, {0},
                                 {storage}, FT_LINEAR, 0, 0, 0, 0, 0, 0};
    begin(&shape);
    set_field(1, OUTPUTS, outputs);
    set_field(2, INPUTS, outputs);
    set_field(2, OUTPUTS, outputs);
}

static void test_sizes(void) {
    begin_claim(1 << 20, 1 << 12, 0);
    expect("layer dense0: 4096 x 1048576 weights, at most 2^31");
    begin_claim(1 << 20, 1 << 11, 0); /* exactly 2^31, which the tensor does not hold */
    expect("tensor 'dense0.weight': is F32 [1, 1048576], expected F32 [2048, 1048576]");
    begin_claim(1 << 20, 1 << 11, 1); /* a small stream may not stand for 8 GiB */
    expect("weights, at most 1024 a byte");
}

/* A whole file, cut and with each bit flipped. */
static void test_damage(void) {
    const network_shape shape = {"tiny", FT_OP_ENCODE_DENSE, 2, 127, 1, {1}, {8}, {0}, {0},
                                 FT_SIGMOID, 1, 0, 0, 0, 0, 0};
    begin(&shape);
    const file_bytes file = file_write(&builder);
    ft_model *model = NULL;
    for (size_t cut = 0; cut < file.size; cut++) {
        CHECK(ft_open_memory(file.data, cut, &model) == FT_ERR_FORMAT && !model, "%zu bytes", cut);
        ft_close(model);
    }
    for (size_t bit = 0; bit < file.size * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const ft_status status = ft_open_memory(file.data, file.size, &model);
        CHECK((status == FT_ERR_FORMAT || status == FT_ERR_VERSION) && !model, "bit %zu: %d", bit,
              status);
        ft_close(model);
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK(ft_open_memory(file.data, file.size, &model) == FT_OK, "%s", ft_last_error());
    ft_close(model);
    free(file.data);
}

static void test_version(void) {
    const char *header = "{\"__metadata__\":{\"checksum\":\"0000000000000000\",\"format\":"
                         "\"farthing\",\"version\":\"1\"}}";
    const file_bytes file = file_join(header, "", 0);
    ft_model *model = NULL;
    CHECK(ft_open_memory(file.data, file.size, &model) == FT_ERR_VERSION && !model, "opened");
    CHECK(strstr(ft_last_error(), "version 1 "), "%s", ft_last_error());
    free(file.data);
}

int main(void) {
    test_fields();
    test_field_reasons();
    test_tensors();
    test_names();
    test_sizes();
    test_damage();
    test_version();
    file_builder_free(&builder);
    return check_report();
}
