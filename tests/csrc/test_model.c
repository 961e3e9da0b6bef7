/* Models from file to score: against a direct calculation, to the bit, on every ISA and in any
 * batch; what a model tells about itself; how calls fail. */
#include "models.h"

#include "dispatch.h"

#include <sys/stat.h>

/* Runs of 1 to 100 rows; what lies behind the last score must stay. */
static void check_batches(const network *net, const ft_model *model, const float *x,
                          const float *expected, const char *isa) {
    const uint32_t n = network_outputs(net);
    const size_t bytes = 100 * n * sizeof(float);
    float *scores = malloc(bytes + sizeof(float));
    for (size_t rows = 1; rows <= 100; rows += is_wide(net) ? 33 : 1) {
        memset(scores, 0xa5, bytes + sizeof(float));
        const ft_status status = ft_predict(model, x, rows, scores);
        const size_t written = rows * n * sizeof(float);
        CHECK(status == FT_OK, "%s, %s: %s", net->shape.what, isa, ft_last_error());
        CHECK(memcmp(scores, expected, written) == 0, "%s, %s: %zu rows", net->shape.what, isa,
              rows);
        CHECK(((unsigned char *)scores)[written] == 0xa5, "%s: written past the scores",
              net->shape.what);
    }
    free(scores);
}

static void test_scores(void) {
    for (size_t s = 0; s < SHAPES; s++) {
        network net = network_new(&shapes[s], 100 + s);
        const uint32_t n = network_outputs(&net);
        float *x = network_rows(&net, 100, s);
        float *expected = malloc(100 * n * sizeof *expected);
        network_scores(&net, x, 100, expected);
        size_t different = 0;
        for (size_t i = n; i < 100 * n; i++)
            different += expected[i] != expected[i % n];
        CHECK(different > 50, "%s: degenerate scores", net.shape.what);

        for (uint32_t i = 0; i < ft_isa_count(); i++) {
            CHECK(ft_isa_force(ft_isa_name(i)) == 0, "%s", ft_isa_name(i));
            ft_model *model = open_network(&net);
            CHECK(ft_features(model) == net.shape.features && ft_outputs(model) == n, "%s: widths",
                  net.shape.what);
            CHECK(!strcmp(model->isa->name, ft_isa_name(i)), "packed for %s", model->isa->name);
            check_batches(&net, model, x, expected, ft_isa_name(i));
            ft_close(model);
        }
        ft_isa_force(NULL);
        free(expected);
        free(x);
        network_free(&net);
    }
}

/* The link is shared with the core, so its values are compared with libm's here. */
static void test_links(void) {
    network net = network_new(&shapes[0], 5);
    ft_model *model = open_network(&net);
    float x[13], z, score;
    for (int i = 0; i < 50; i++) {
        for (int j = 0; j < 13; j++)
            x[j] = (float)(i - 25) / 5 + (float)j / 9;
        network_logits(&net, x, &z);
        ft_predict(model, x, 1, &score);
        CHECK(fabs(score - 1 / (1 + exp(-(double)z))) < 1e-7, "sigmoid(%g) is %g", z, score);
    }
    ft_close(model);
    network_free(&net);

    net = network_new(&shapes[3], 5);
    model = open_network(&net);
    float p[4], logits[4];
    network_logits(&net, x, logits);
    ft_predict(model, x, 1, p);
    double sum = 0;
    for (int j = 0; j < 4; j++)
        sum += exp((double)logits[j]);
    for (int j = 0; j < 4; j++)
        CHECK(fabs(p[j] - exp((double)logits[j]) / sum) < 1e-7, "class %d: %g", j, p[j]);
    ft_close(model);
    network_free(&net);
}

static void test_missing(void) {
    for (size_t s = 0; s < SHAPES; s++) {
        network net = network_new(&shapes[s], 7);
        if (!is_wide(&net)) {
            ft_model *model = open_network(&net);
            const uint32_t n = network_outputs(&net);
            float *x = network_rows(&net, 1, 3), *expected = malloc(n * 4), *scores = malloc(n * 4);
            for (uint32_t j = 0; j < net.shape.features; j++)
                x[j] = j % 2 ? NAN : -NAN;
            network_scores(&net, x, 1, expected);
            CHECK(ft_predict(model, x, 1, scores) == FT_OK && !memcmp(scores, expected, n * 4),
                  "%s: a row of NaN", net.shape.what);
            free(x);
            free(expected);
            free(scores);
            ft_close(model);
        }
        network_free(&net);
    }
}

/* A NaN score, which only overflow of a float model can give, has one bit pattern. */
static void test_nan_scores(void) {
    const network_shape shape = {"overflow", STANDARDIZE, 2, 0, 1, {1}, {32}, {0},
                                 {0}, FT_LINEAR, 0, 0, 0, 0, 0, 0};
    network net = network_new(&shape, 1);
    net.layers[0].weight[0] = 3e38f;
    net.layers[0].weight[1] = -3e38f;
    const float x[] = {3e38f, 3e38f};
    for (uint32_t i = 0; i < ft_isa_count(); i++) {
        ft_isa_force(ft_isa_name(i));
        ft_model *model = open_network(&net);
        uint32_t pattern = 0;
        float score;
        ft_predict(model, x, 1, &score);
        memcpy(&pattern, &score, 4);
        CHECK(pattern == 0x7fc00000, "%s: %08x", ft_isa_name(i), pattern);
        ft_close(model);
    }
    ft_isa_force(NULL);
    network_free(&net);
}

/* A score of 0 has one sign, whatever terms of 0 a kernel leaves out or adds. */
static void test_zero_scores(void) {
    static const size_t chosen[] = {2, 5};
    for (size_t c = 0; c < 2; c++) {
        network net = network_new(&shapes[chosen[c]], 1);
        network_layer *l = &net.layers[0];
        for (size_t i = 0; i < (size_t)l->n * l->k; i++)
            l->weight[i] = -0.0f;
        for (uint32_t i = 0; i < l->n; i++)
            l->add[i] = -0.0f;
        float *x = network_rows(&net, 20, 1);
        for (uint32_t i = 0; i < ft_isa_count(); i++) {
            ft_isa_force(ft_isa_name(i));
            ft_model *model = open_network(&net);
            float scores[60];
            const uint32_t zeros[60] = {0};
            CHECK(ft_predict(model, x, 20, scores) == FT_OK, "%s", ft_last_error());
            CHECK(!memcmp(scores, zeros, 80 * l->n), "%s, %s", net.shape.what, ft_isa_name(i));
            ft_close(model);
        }
        ft_isa_force(NULL);
        free(x);
        network_free(&net);
    }
}

static void test_infinities(void) {
    for (size_t s = 0; s < SHAPES; s++) {
        network net = network_new(&shapes[s], 9);
        const uint32_t n = network_outputs(&net), features = net.shape.features;
        if (net.shape.input != ENCODE) {
            ft_model *model = open_network(&net);
            float *x = network_rows(&net, 60, 3), *scores = malloc(60 * n * 4);
            const uint32_t last = features - 1;
            char words[64];
            snprintf(words, sizeof words,
                     net.shape.named ? "row 57, feature %u ('Größe_%u') is infinite"
                                     : "row 57, feature %u is infinite",
                     last, last);
            x[57 * features + last] = -INFINITY;
            memset(scores, 0xa5, 60 * n * 4);
            CHECK(ft_predict(model, x, 60, scores) == FT_ERR_ARGUMENT, "%s", net.shape.what);
            CHECK(strstr(ft_last_error(), words), "%s", ft_last_error());
            for (uint32_t i = 0; i < 60 * n * 4; i++)
                if (((unsigned char *)scores)[i] != 0xa5) {
                    CHECK(0, "%s: byte %u is written", net.shape.what, i);
                    break;
                }
            x[0] = INFINITY;
            CHECK(ft_predict(model, x, 60, scores) == FT_ERR_ARGUMENT &&
                      strstr(ft_last_error(), "row 0, feature 0 "),
                  "%s", ft_last_error());
            x[0] = x[57 * features + last] = 3.4e38f;
            CHECK(ft_predict(model, x, 60, scores) == FT_OK, "the largest finite value");
            free(x);
            free(scores);
            ft_close(model);
        }
        network_free(&net);
    }
}

/* A name of 301 bytes is cut to whole characters. */
static void test_long_name(void) {
    const network_shape shape = {"long name", STANDARDIZE, 1, 0, 1, {1}, {32}, {0},
                                 {0}, FT_LINEAR, 0, 0, 0, 0, 0, 0};
    network net = network_new(&shape, 1);
    file_builder b;
    network_tensors(&net, &b);
    const file_tensor info = b.tensors[--b.count];
    char text[302] = "x", words[256] = "('x";
    for (int i = 0; i < 150; i++)
        strcat(text, "ö");
    for (int i = 0; i < 99; i++)
        strcat(words, "ö");
    strcat(words, "') is infinite");
    file_add(&b, "names.text", FT_U8, 301, 0, text);
    file_add(&b, "names.offsets", FT_I32, 2, 0, (int32_t[]){0, 301});
    b.tensors[b.count++] = info;
    const file_bytes file = file_write(&b);
    ft_model *model = NULL;
    CHECK(ft_open_memory(file.data, file.size, &model) == FT_OK, "%s", ft_last_error());
    float score;
    CHECK(ft_predict(model, (float[]){INFINITY}, 1, &score) == FT_ERR_ARGUMENT, "scored");
    CHECK(strstr(ft_last_error(), words), "%s", ft_last_error());
    ft_close(model);
    free(file.data);
    file_builder_free(&b);
    network_free(&net);
}

/* ---- what a binding reads ----------------------------------------------------------------- */

static uint64_t nonzeros(const network_layer *l) {
    uint64_t count = 0;
    for (size_t i = 0; i < (size_t)l->n * l->k; i++)
        count += l->weight[i] != 0;
    return count;
}

static void test_description(void) {
    for (size_t s = 0; s < SHAPES; s++) {
        network net = network_new(&shapes[s], 19);
        ft_model *model = open_network(&net);
        const uint32_t first = net.shape.input == ENCODE ? 0 : 1;
        size_t bytes = 0;
        uint32_t at = first;
        for (uint32_t i = 0; i < net.shape.layers; i++) {
            const network_layer *l = &net.layers[i];
            const ft_op *op = &model->ops[at++];
            for (int more = !!l->activation + !!l->bound + (l->source >= 0); more > 0; more--)
                CHECK(ft_is_in_place(&model->ops[at++]), "%s", net.shape.what);
            char name[16];
            snprintf(name, sizeof name, "dense%u", i);
            CHECK(!strcmp(op->name, name), "'%s'", op->name);
            CHECK(op->bits == l->bits && op->width == l->k && op->outputs == l->n, "%s", name);
            CHECK(op->nonzeros == nonzeros(l), "%s, %s: %llu non-zero weights", net.shape.what,
                  name, (unsigned long long)op->nonzeros);
            CHECK(op->storage == l->storage && op->group_size == l->group, "%s", name);
            if (op->kind == FT_OP_DENSE && op->bits != 32) {
                CHECK(op->dense.depth_u8 <= op->dense.depth_u7 && op->dense.bytes > 0, "%s", name);
                CHECK(op->dense.bits == l->bits && op->dense.amax == l->amax_in, "%s", name);
            }
            bytes += op->dense.bytes + op->dense_f32.bytes + op->encoded.bytes;
        }
        CHECK(model->ops_count == at + 1, "%u operations", model->ops_count);
        CHECK(bytes > 0 && model->nbytes > bytes && model->nbytes < 2 * bytes + 100000,
              "%s: %zu bytes in memory, %zu of weights", net.shape.what, model->nbytes, bytes);
        for (uint32_t j = 0; j < net.shape.features; j++)
            CHECK(isnan(model->ops[0].fill[j]) ? isnan(net.fill[j])
                                               : model->ops[0].fill[j] == net.fill[j],
                  "fill of feature %u", j);
        CHECK(!model->names == !net.shape.named, "names");
        for (uint32_t j = 0; j < net.shape.features && model->names; j++) {
            char name[32];
            const size_t length = (size_t)snprintf(name, sizeof name, "Größe_%u", j);
            CHECK(model->name_offsets[j + 1] - model->name_offsets[j] == length &&
                      !memcmp(model->names + model->name_offsets[j], name, length),
                  "name of feature %u", j);
        }
        CHECK(model->info_size == 2 && !memcmp(model->info, "{}", 2), "info");
        ft_close(model);
        network_free(&net);
    }
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void test_arguments(void) {
    network net = network_new(&shapes[4], 21);
    ft_model *model = open_network(&net), *none = (ft_model *)&net;
    float x[23] = {0}, score = 7;
    CHECK(ft_predict(NULL, x, 1, &score) == FT_ERR_ARGUMENT &&
              !strcmp(ft_last_error(), "model is NULL"),
          "%s", ft_last_error());
    CHECK(ft_predict(model, NULL, 1, &score) == FT_ERR_ARGUMENT &&
              !strcmp(ft_last_error(), "x is NULL"),
          "%s", ft_last_error());
    CHECK(ft_predict(model, x, 1, NULL) == FT_ERR_ARGUMENT &&
              !strcmp(ft_last_error(), "scores is NULL"),
          "%s", ft_last_error());
    CHECK(ft_predict(model, NULL, 0, NULL) == FT_OK, "no rows need no memory");
    CHECK(ft_predict(model, x, 0, &score) == FT_OK && score == 7, "no rows write nothing");
    CHECK(ft_open_memory("x", 1, NULL) == FT_ERR_ARGUMENT, "out is NULL");
    CHECK(ft_open("x", NULL) == FT_ERR_ARGUMENT, "out is NULL");
    CHECK(ft_open_memory("x", 1, &none) == FT_ERR_FORMAT && !none, "*out is set");
    CHECK(ft_features(NULL) == 0 && ft_outputs(NULL) == 0, "NULL has no widths");
    ft_close(NULL);
    ft_close(model);
    network_free(&net);
    for (int s = FT_OK; s <= FT_ERR_MEMORY; s++)
        for (int t = s + 1; t <= FT_ERR_MEMORY + 1; t++)
            CHECK(strcmp(ft_status_text((ft_status)s), ft_status_text((ft_status)t)), "%d, %d", s,
                  t);
    CHECK(ft_version()[0] >= '0' && ft_version()[0] <= '9', "%s", ft_version());
}

static void expect_io(const char *path, const char *words) {
    ft_model *model = (ft_model *)&path;
    CHECK(ft_open(path, &model) == FT_ERR_IO && !model, "%s: opened", path);
    CHECK(strstr(ft_last_error(), words) && strstr(ft_last_error(), path), "%s", ft_last_error());
}

static void test_files(void) {
    char folder[] = "/tmp/farthing_test_XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL, "no temporary folder");
    snprintf(path, sizeof path, "%s/model.farthing", folder);
    expect_io(path, "No such file");
    expect_io(folder, "Is a directory");
    expect_io("/dev/zero", "not a regular file");
    CHECK(mkfifo(path, 0600) == 0, "no pipe");
    expect_io(path, "not a regular file"); /* does not wait for a writer */
    remove(path);

    network net = network_new(&shapes[6], 23);
    const file_bytes file = network_file(&net);
    FILE *out = fopen(path, "wb");
    CHECK(out && fwrite(file.data, 1, file.size, out) == file.size && !fclose(out), "written");
    ft_model *model = NULL, *copy = NULL;
    CHECK(ft_open(path, &model) == FT_OK, "%s", ft_last_error());
    CHECK(ft_open_memory(file.data, file.size, &copy) == FT_OK, "%s", ft_last_error());
    if (!model || !copy)
        exit(check_report());
    out = fopen(path, "wb"); /* emptied: nothing refers to the file any more */
    CHECK(out && !fclose(out), "emptied");
    float *x = network_rows(&net, 5, 3), a[5], b[5];
    CHECK(ft_predict(model, x, 5, a) == FT_OK && ft_predict(copy, x, 5, b) == FT_OK &&
              !memcmp(a, b, sizeof a),
          "a file and its bytes score alike");
    ft_close(copy);
    CHECK(ft_open(path, &copy) == FT_ERR_FORMAT && strstr(ft_last_error(), "only 0 bytes"), "%s",
          ft_last_error());
    if (chmod(path, 0) == 0 && geteuid() != 0)
        expect_io(path, "Permission denied");
    free(x);
    free(file.data);
    ft_close(model);
    network_free(&net);
    remove(path);
    rmdir(folder);
}

int main(void) {
    test_scores();
    test_links();
    test_missing();
    test_nan_scores();
    test_zero_scores();
    test_infinities();
    test_long_name();
    test_description();
    test_arguments();
    test_files();
    return check_report();
}
