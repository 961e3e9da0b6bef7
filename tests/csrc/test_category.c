/* Categorical features: what of their tensors is refused, and how a text is looked up. */
#include "refusal.h"

enum { FEATURES = 16 };

static int32_t count_at(const char *tensor, uint32_t feature) {
    int32_t value;
    memcpy(&value, file_find(&builder, tensor)->data + 4 * feature, 4);
    return value;
}

static const char *category_tensor(uint32_t feature, const char *part) {
    static char name[32];
    snprintf(name, sizeof name, "cat.%u.%s", feature, part);
    return name;
}

/* A feature with at least three categories, as texts or numbers, embedded or not. */
static uint32_t find_feature(int texts, int embedded) {
    for (uint32_t j = 0; j < FEATURES; j++)
        if (count_at("dense0.categories", j) > 3 && network_has_texts(j) == texts &&
            (count_at("dense0.embedding_dims", j) > 0) == embedded)
            return j;
    CHECK(0, "no such feature: texts %d, embedded %d", texts, embedded);
    return 1;
}

/* Features get other kinds with other seeds: one that has all of them. */
static void begin_categorical(const network_shape *shape) {
    file_builder_free(&builder);
    network net = network_new(shape, 5);
    network_tensors(&net, &builder);
    network_free(&net);
}

static void expect_u32(const char *tensor, size_t index, uint32_t value, const char *words) {
    begin_categorical(&categorical);
    set_u32(tensor, index, value);
    expect(words);
}

static void test_counts(void) {
    begin_categorical(&categorical);
    expect_valid("categorical");
    const uint32_t embedded = find_feature(0, 1), plain_one = find_feature(0, 0);
    char words[80];
    expect_u32("dense0.categories", 1, (uint32_t)-1, "layer dense0, feature 1: its categories");
    expect_u32("dense0.categories", 1, (1 << 20) + 1, "layer dense0, feature 1: its categories");
    expect_u32("dense0.categories", 0, 2, "layer dense0, feature 0: a categorical feature has no");
    expect_u32("dense0.embedding_dims", 0, 1, "only a categorical feature has an embedding");
    expect_u32("dense0.embedding_dims", embedded, 257, "must have 0 to 256 dimensions");
    expect_u32("dense0.embedding_dims", embedded, (uint32_t)-1, "must have 0 to 256 dimensions");
    snprintf(words, sizeof words, "tensor 'dense0.weight': is I8 [9, ");
    expect_u32("dense0.categories", plain_one, 1, words);
    expect_u32("dense0.categories", embedded, 1, "tensor 'dense0.embedding': is U8 [");
    begin_categorical(&categorical);
    set_all("dense0.categories", 0);
    expect("tensor 'dense0.categories': all its values are 0");
    begin_categorical(&categorical);
    set_all("dense0.embedding_dims", 0);
    expect("tensor 'dense0.embedding_dims': all its values are 0");
    for (uint32_t j = 1; j < FEATURES; j += 2) {
        begin_categorical(&categorical);
        if (j % 3 == 1) /* missing is learnt */
            continue;
        set_float("dense0.fill", j, 1);
        expect("the fill of a categorical feature must be 0 or NaN");
    }
}

static void test_embedding(void) {
    begin_categorical(&categorical);
    set_byte("dense0.embedding", 3, 128);
    expect("tensor 'dense0.embedding': value 3 is 128, at most 127 is allowed");
    const network_shape is_float = {"float", FT_OP_ENCODE_DENSE, FEATURES, 0, 1, {2}, {32}, {0},
                                    {0}, FT_EXP, 0, 0, 0, 2, 0, 0};
    begin_categorical(&is_float);
    expect_valid("float");
    set_float("dense0.embedding", 2, INFINITY);
    expect("tensor 'dense0.embedding': value 2 is not finite");
    begin_categorical(&is_float);
    for (size_t i = 0; i < file_find(&builder, "dense0.embedding")->size / 4; i++)
        set_float("dense0.embedding", i, 3e38f);
    for (size_t i = 0; i < file_find(&builder, "dense0.weight")->size / 4; i++)
        set_float("dense0.weight", i, 3e38f);
    expect("layer dense0, output 0: what a category adds is not finite");
}

static void test_values(void) {
    begin_categorical(&categorical);
    const uint32_t texts = find_feature(1, 0), numbers = find_feature(0, 1);
    const char *name = category_tensor(numbers, "values");
    const float bad[] = {NAN, INFINITY, -INFINITY, -100};
    for (size_t i = 0; i < 4; i++) {
        begin_categorical(&categorical);
        set_float(name, 1, bad[i]);
        expect("values': value 1 is not finite, or not above the one before it");
    }
    begin_categorical(&categorical);
    memcpy(file_find(&builder, name)->data, file_find(&builder, name)->data + 4, 4);
    expect("values': value 1 is not finite, or not above the one before it"); /* twice the same */

    /* "", "\xc3\xa4" "1", "\xc3\xa4" "2", ... */
    begin_categorical(&categorical);
    name = category_tensor(texts, "offsets");
    set_u32(name, 1, 3);
    set_u32(name, 2, 3);
    expect("category 1 does not follow the one before it in the order of their bytes");
    begin_categorical(&categorical);
    set_u32(name, 1, 1);
    expect("the category 0 is not UTF-8, or has a NUL");
    begin_categorical(&categorical);
    set_u32(name, 2, 8);
    expect("offsets': value 3 is 6, must be 8 to");
    begin_categorical(&categorical);
    name = category_tensor(texts, "text");
    set_byte(name, 2, '3'); /* before "\xc3\xa4" "2" */
    expect("category 2 does not follow the one before it in the order of their bytes");
    set_byte(name, 2, '2');
    expect("category 2 does not follow the one before it in the order of their bytes");
    set_byte(name, 2, 0);
    expect("the category 1 is not UTF-8, or has a NUL");
}

/* A feature alone with these rows of an embedding, one output with these weights. */
static void begin_single(uint32_t amax, uint32_t categories, uint32_t dim, const uint8_t *rows,
                         const int8_t *weights) {
    const network_shape shape = {"single", FT_OP_ENCODE_DENSE, 1, amax, 1, {1}, {8}, {0}, {0},
                                 FT_LINEAR, 0, 0, 0, 0, 0, 0};
    const int32_t none = 0, counts = (int32_t)categories + 1, dims = (int32_t)dim;
    const float fill = 0, mult = 1, add = 0;
    float *values = malloc((categories + 1) * sizeof *values);
    for (uint32_t i = 0; i < categories; i++)
        values[i] = (float)i;
    begin(&shape);
    file_tensor ops = builder.tensors[0], info = builder.tensors[builder.count - 1];
    builder.tensors[0].data = builder.tensors[builder.count - 1].data = NULL;
    file_builder_free(&builder);
    builder.tensors[builder.count++] = ops;
    file_add(&builder, "dense0.bins", FT_I32, 1, 0, &none);
    file_add(&builder, "dense0.edges", FT_F32, 0, 0, NULL);
    file_add(&builder, "dense0.fill", FT_F32, 1, 0, &fill);
    file_add(&builder, "dense0.categories", FT_I32, 1, 0, &counts);
    if (dim) {
        file_add(&builder, "dense0.embedding_dims", FT_I32, 1, 0, &dims);
        file_add(&builder, "dense0.embedding", FT_U8, (uint64_t)dim * (categories + 1), 0, rows);
    }
    file_add(&builder, "dense0.weight", FT_I8, 1, dim ? dim : categories + 1, weights);
    file_add(&builder, "dense0.mult", FT_F32, 1, 0, &mult);
    file_add(&builder, "dense0.add", FT_F32, 1, 0, &add);
    file_add(&builder, "cat.0.values", FT_F32, categories, 0, values);
    builder.tensors[builder.count++] = info;
    free(values);
}

static void expect_scores(const float *x, const float *scores, size_t rows) {
    ft_model *model = NULL;
    CHECK(open_builder(&model) == FT_OK, "%s", ft_last_error());
    for (size_t i = 0; model && i < rows; i++) {
        float score = NAN;
        CHECK(ft_predict(model, x + i, 1, &score) == FT_OK && score == scores[i], "%g: %g, not %g",
              (double)x[i], (double)score, (double)scores[i]);
    }
    ft_close(model);
}

/* What a category adds is amax * S + r with S an int16: to the last value that fits. */
static void test_largest_contribution(void) {
    enum { DIM = 256 };
    uint8_t rows[2 * DIM];
    int8_t weights[DIM];
    memset(rows, 127, sizeof rows);
    memset(rows + DIM, 0, DIM);
    for (int sign = -1; sign <= 1; sign += 2) {
        /* 127 * (sum of weights) = 127 * S, S = 256 * 127 = 32512 */
        memset(weights, 127 * sign, DIM);
        begin_single(127, 1, DIM, rows, weights);
        const float x[] = {0, 1, NAN, -INFINITY, 0.5f};
        const float scores[] = {(float)(127 * 32512 * sign), 0, 0, 0, 0};
        expect_scores(x, scores, 5);
    }
    uint8_t above[2 * DIM]; /* amax 255, values 255: 255 * 32512 */
    memset(above, 255, sizeof above);
    above[0] = 254; /* a remainder */
    memset(weights, -127, DIM);
    begin_single(255, 1, DIM, above, weights);
    const float x[] = {0, 3};
    const float scores[] = {-127.0f * (255 * 256 - 1), -127.0f * 255 * 256};
    expect_scores(x, scores, 2);
}

/* Only one row of a feature counts at a time: many categories of the largest weights pass. */
static void test_limits(void) {
    enum { MANY = 200000 };
    int8_t *weights = malloc(MANY + 1);
    float x[] = {0, MANY - 1, MANY, 1e30f}, scores[] = {127 * 127, 127 * 127, -127, -127};
    memset(weights, 127, MANY + 1);
    weights[MANY] = -1;
    begin_single(127, MANY, 0, NULL, weights);
    expect_scores(x, scores, 4);
    set_float("dense0.mult", 0, 0x1p127f / (127 * 127));
    expect("layer dense0, output 0: its value can pass 2^127");
    set_float("dense0.mult", 0, 0x1p126f / (127 * 127));
    expect_valid("a smaller multiplier");
    free(weights);
}

/* A small file may not ask for a large table. */
static void test_claim(void) {
    enum { ROWS = 1 << 12, OUTPUTS = 1 << 15 };
    uint8_t *rows = calloc(ROWS + 1, 1);
    const int8_t one = 1;
    begin_single(127, ROWS, 1, rows, &one);
    expect_valid("one output");
    file_put(builder.tensors[0].data + 8, OUTPUTS, 4);
    file_put(builder.tensors[0].data + 32 + 4, OUTPUTS, 4);
    file_put(builder.tensors[0].data + 32 + 8, OUTPUTS, 4);
    expect("layer dense0: 4098 embedded categories for 32768 outputs, at most 2^26 pairs");
    free(rows);
}

static void test_lookup(void) {
    begin_categorical(&categorical);
    const uint32_t texts = find_feature(1, 0), numbers = find_feature(0, 1);
    const int32_t count = count_at("dense0.categories", texts) - 1;
    ft_model *model = NULL;
    CHECK(open_builder(&model) == FT_OK, "%s", ft_last_error());
    float code = 7;
    for (int32_t i = 0; i < count; i++) {
        char text[16];
        snprintf(text, sizeof text, i ? "ä%d" : "", i);
        CHECK(ft_category(model, texts, text, &code) == FT_OK && code == (float)i, "%s: %g", text,
              (double)code);
    }
    static const char *const unknown[] = {"a", "ä", "ä1 ", "ä11", "ä99", "\xff", "z"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(ft_category(model, texts, unknown[i], &code) == FT_OK && code == -1, "%s: %g",
              unknown[i], (double)code);
    CHECK(ft_category(model, numbers, "1", &code) == FT_ERR_ARGUMENT, "numbers");
    CHECK(strstr(ft_last_error(), "takes numbers"), "%s", ft_last_error());
    CHECK(ft_category(model, 0, "1", &code) == FT_ERR_ARGUMENT, "a numeric feature");
    CHECK(ft_category(model, FEATURES, "1", &code) == FT_ERR_ARGUMENT, "no feature");
    CHECK(strstr(ft_last_error(), "feature is 16"), "%s", ft_last_error());
    CHECK(ft_category(NULL, 0, "1", &code) == FT_ERR_ARGUMENT, "no model");
    CHECK(ft_category(model, texts, NULL, &code) == FT_ERR_ARGUMENT, "no text");
    CHECK(ft_category(model, texts, "", NULL) == FT_ERR_ARGUMENT, "no code");
    ft_close(model);
    begin(&plain);
    CHECK(open_builder(&model) == FT_OK, "%s", ft_last_error());
    CHECK(ft_category(model, 0, "", &code) == FT_ERR_ARGUMENT, "a model without categories");
    ft_close(model);
}

int main(void) {
    test_counts();
    test_embedding();
    test_values();
    test_largest_contribution();
    test_limits();
    test_claim();
    test_lookup();
    file_builder_free(&builder);
    return check_report();
}
