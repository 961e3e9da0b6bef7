/* Random models for the tests: described plainly, written to a file, and scored by a direct
 * calculation from docs/file-format.md that shares nothing with the core but the link
 * and the activations. */
#ifndef FT_TESTS_NETWORK_H
#define FT_TESTS_NETWORK_H

#include "check.h" /* first: it asks for POSIX */

#include "activation.h"
#include "build_file.h"
#include "link.h"
#include "model.h"
#include "coding.h"

#include <math.h>

/* ReLU, above which most outputs have a bound. */
enum { BOUNDED = 100 };

enum { FREQUENCIES = 3, MAX_LAYERS = 6, MAX_BINS_TESTED = 21, MAX_CATEGORIES_TESTED = 9 };

/* What to make. */
typedef struct network_shape {
    const char *what;
    uint32_t input; /* FT_OP_STANDARDIZE, FT_OP_QUANTIZE, FT_OP_ENCODE_DENSE or FT_OP_PERIODIC */
    uint32_t features;
    uint32_t amax; /* 0: a float model */
    uint32_t layers;
    uint32_t outputs[MAX_LAYERS], bits[MAX_LAYERS], group[MAX_LAYERS], storage[MAX_LAYERS];
    uint32_t link; /* FT_LINEAR, FT_SIGMOID, FT_SOFTMAX or FT_EXP */
    uint32_t named;
    uint32_t weight_max; /* 0: the largest that bits allow */
    uint32_t last_relu;  /* float models: ReLU in the last layer too */
    uint32_t categories; /* 1: some features of an encoder are categorical, 2: some embedded */
    uint32_t activation; /* of the hidden layers: 0 for ReLU, FT_TANH to FT_LOGISTIC, BOUNDED */
    uint32_t residual;   /* hidden layers add an output of their width: the one before, the first */
} network_shape;

typedef struct network_layer {
    uint32_t n, k, bits, group, storage, relu, amax_in, amax_out;
    float *weight; /* [n][k]: float, or integer values */
    uint8_t *scales;
    float *mult, *add; /* add is the bias of a float layer */
    uint8_t *table;    /* of an integer layer with another activation than ReLU */
    float *bound;      /* [n] or NULL */
    uint32_t activation;
    int source;        /* the layer whose output it adds; -1 for none */
    float factors[3];
} network_layer;

typedef struct network {
    network_shape shape;
    float *shift, *scale, *fill; /* [features]; fill of an encoder too */
    float *frequencies;          /* [features][FREQUENCIES] */
    int32_t *bins;
    float *edges;
    size_t edge_count;
    int32_t *categories, *dims; /* [features]; as in the file, 0 where there are none */
    float *values;              /* [features][MAX_CATEGORIES_TESTED]: what stands for them in x */
    float *embedding;           /* one feature's rows after the other's */
    size_t embedding_size;
    uint8_t *joined;            /* of the columns: this one belongs to the term before it */
    network_layer layers[MAX_LAYERS];
} network;

static inline float random_float(uint64_t *seed, float low, float high) {
    return low + (high - low) * (float)(random_bits(seed) >> 40) / 16777216.0f;
}

static inline float *random_floats(uint64_t *seed, size_t count, float low, float high) {
    float *values = malloc((count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = random_float(seed, low, high);
    return values;
}

/* Whether the file gives the feature's categories as texts. */
static inline int network_has_texts(uint32_t feature) { return feature % 4 == 3; }

/* No category, one or more, as codes or as other numbers; returns the columns. */
static inline uint32_t network_categorical(network *net, uint32_t j, uint64_t *seed) {
    const uint32_t count = random_below(seed, MAX_CATEGORIES_TESTED + 1);
    const uint32_t rows = count + 1 + (isnan(net->fill[j]) ? 1 : 0);
    const int codes = network_has_texts(j) || random_below(seed, 2);
    float value = random_float(seed, -3, 0);
    for (uint32_t i = 0; i < count; i++, value += random_float(seed, 0.01f, 2))
        net->values[j * MAX_CATEGORIES_TESTED + i] = codes ? (float)i : value;
    net->categories[j] = (int32_t)count + 1;
    if (net->shape.categories < 2 || random_below(seed, 2))
        return rows;
    net->dims[j] = 1 + (int32_t)random_below(seed, 5);
    for (uint32_t i = 0; i < rows * (uint32_t)net->dims[j]; i++)
        net->embedding[net->embedding_size++] =
            net->shape.amax ? (float)random_below(seed, net->shape.amax + 1)
                            : random_below(seed, 5) ? random_float(seed, -1, 1) : 0;
    return (uint32_t)net->dims[j];
}

/* Features without bins, with one, with many, categorical ones; with a fill and with a learnt
 * missing column. */
static inline uint32_t network_encoder(network *net, uint64_t *seed) {
    const uint32_t features = net->shape.features;
    uint32_t width = 0;
    net->bins = calloc(features, sizeof *net->bins);
    net->fill = malloc(features * sizeof *net->fill);
    net->edges = malloc(features * (MAX_BINS_TESTED + 1) * sizeof *net->edges);
    net->categories = calloc(features, sizeof *net->categories);
    net->dims = calloc(features, sizeof *net->dims);
    net->values = malloc(features * MAX_CATEGORIES_TESTED * sizeof *net->values);
    net->embedding = malloc(features * (MAX_CATEGORIES_TESTED + 2) * 5 * sizeof *net->embedding);
    net->joined = calloc(features * (MAX_BINS_TESTED + 1), 1);
    for (uint32_t j = 0; j < features; j++) {
        net->fill[j] = j % 3 == 1 ? NAN : random_float(seed, -3, 3);
        if (net->shape.categories && j % 2) {
            net->fill[j] = isnan(net->fill[j]) ? NAN : 0;
            const uint32_t columns = network_categorical(net, j, seed);
            if (net->dims[j])
                memset(net->joined + width + 1, 1, columns - 1);
            width += columns;
            continue;
        }
        const uint32_t bins = j % 7 == 5 ? 0 : j % 7 == 6 ? 1 : 2 + random_below(seed, 19);
        net->bins[j] = (int32_t)bins;
        width += bins + (isnan(net->fill[j]) ? 1 : 0);
        float edge = random_float(seed, -4, -2);
        for (uint32_t t = 0; bins && t <= bins; t++) {
            net->edges[net->edge_count++] = edge;
            edge += random_float(seed, 0.01f, 0.5f);
        }
    }
    return width;
}

static inline void network_layer_new(network *net, uint32_t i, uint32_t k, uint64_t *seed) {
    const network_shape *shape = &net->shape;
    const uint32_t last = i == shape->layers - 1, n = shape->outputs[i];
    network_layer *l = &net->layers[i];
    *l = (network_layer){n, k, shape->bits[i], shape->group[i], shape->storage[i],
                         shape->amax ? !last : !last || shape->last_relu,
                         .amax_in = shape->amax, .amax_out = last ? 0 : shape->amax,
                         .activation = last || shape->activation == BOUNDED ? 0 : shape->activation,
                         .source = -1};
    if (!last && shape->activation == BOUNDED) {
        l->bound = random_floats(seed, n, 0, shape->amax ? (float)shape->amax : 1);
        for (uint32_t j = 0; j < n; j++)
            l->bound[j] = j % 3 == 1    ? (shape->amax ? (float)shape->amax : INFINITY)
                          : shape->amax ? rintf(l->bound[j])
                                        : l->bound[j];
    }
    if (l->activation)
        l->relu = 0;
    if (shape->amax && l->activation) {
        l->table = malloc(256);
        for (uint32_t j = 0; j < 256; j++)
            l->table[j] = (uint8_t)random_below(seed, shape->amax + 1);
    }
    for (int source = (int)i - 1; shape->residual && !last && source >= 0; source--)
        if (shape->outputs[source] == n && (l->source < 0 || (source == 0 && shape->residual == 2)))
            l->source = source;
    for (int j = 0; j < 3 && l->source >= 0; j++)
        l->factors[j] = j < 2 ? random_float(seed, -0.2f, 1) : random_float(seed, -20, 20);
    const size_t count = (size_t)n * k, groups = l->group ? (k + l->group - 1) / l->group : 0;
    l->weight = random_floats(seed, count, -1, 1);
    if (l->bits != 32) {
        const uint32_t largest = l->bits == 4 ? 7 : 127;
        const float limit = (float)(shape->weight_max ? shape->weight_max : largest);
        for (size_t j = 0; j < count; j++)
            l->weight[j] = rintf(l->weight[j] * limit);
        l->scales = malloc(n * groups + 1);
        for (size_t j = 0; j < n * groups; j++)
            l->scales[j] = (uint8_t)(1 + random_below(seed, 63));
        /* Outputs spread over the range and past both of its ends. */
        const float spread = sqrtf((float)k) * limit * (groups ? 32.0f : 1.0f) * 0.4f;
        l->mult = random_floats(seed, n, 0.7f / spread, 1.4f / spread);
        l->add = random_floats(seed, n, -20, (float)shape->amax / 2);
        if (last)
            for (uint32_t j = 0; j < n; j++)
                l->mult[j] /= 60;
        if (last)
            for (uint32_t j = 0; j < n; j++)
                l->add[j] /= 60;
    } else {
        l->add = random_floats(seed, n, -1, 1);
    }
    /* Zeros, more where they are what storage is about. */
    for (size_t j = 0; j < count; j++)
        if (random_below(seed, 100) < (l->storage ? 85u : 10u))
            l->weight[j] = 0;
}

static inline network network_new(const network_shape *shape, uint64_t seed) {
    network net = {.shape = *shape};
    uint32_t k = shape->features;
    if (shape->input == FT_OP_ENCODE_DENSE) {
        k = network_encoder(&net, &seed);
    } else {
        const float top = shape->amax ? (float)shape->amax : 1;
        net.shift = random_floats(&seed, k, -3, 0);
        net.scale = random_floats(&seed, k, top / 4, top / 3);
        net.fill = random_floats(&seed, k, -2, 2);
    }
    if (shape->input == FT_OP_PERIODIC) {
        net.frequencies = random_floats(&seed, k * FREQUENCIES, -2, 2);
        k *= 2 * FREQUENCIES;
    }
    for (uint32_t i = 0; i < shape->layers; i++) {
        network_layer_new(&net, i, k, &seed);
        k = shape->outputs[i];
    }
    return net;
}

static inline void network_free(network *net) {
    free(net->shift);
    free(net->scale);
    free(net->fill);
    free(net->frequencies);
    free(net->bins);
    free(net->edges);
    free(net->categories);
    free(net->dims);
    free(net->values);
    free(net->embedding);
    free(net->joined);
    for (uint32_t i = 0; i < net->shape.layers; i++) {
        free(net->layers[i].weight);
        free(net->layers[i].scales);
        free(net->layers[i].mult);
        free(net->layers[i].add);
        free(net->layers[i].table);
        free(net->layers[i].bound);
    }
}

static inline uint32_t network_outputs(const network *net) {
    return net->shape.outputs[net->shape.layers - 1];
}

/* ---- to a file ------------------------------------------------------------------------ */

static inline void network_add(file_builder *b, const char *layer, const char *part,
                               ft_dtype dtype, uint64_t n, uint64_t k, const void *data) {
    char name[2 * FT_NAME_MAX];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    file_add(b, name, dtype, n, k, data);
}

static inline void network_add_weight(file_builder *b, const char *name, const network_layer *l) {
    const size_t count = (size_t)l->n * l->k;
    if (l->storage) {
        uint32_t *patterns = malloc(count * sizeof *patterns);
        for (size_t i = 0; i < count; i++) {
            if (l->bits == 32)
                memcpy(&patterns[i], &l->weight[i], 4);
            else
                patterns[i] = (uint32_t)(int32_t)l->weight[i];
        }
        const size_t size = ft_coding_encode(patterns, l->n, l->k, l->bits, NULL, 0);
        uint8_t *stream = malloc(size);
        ft_coding_encode(patterns, l->n, l->k, l->bits, stream, size);
        network_add(b, name, "weight", FT_U8, size, 0, stream);
        free(stream);
        free(patterns);
    } else if (l->bits == 32) {
        network_add(b, name, "weight", FT_F32, l->n, l->k, l->weight);
    } else {
        const size_t row = l->bits == 8 ? l->k : (l->k + 1) / 2;
        uint8_t *bytes = calloc(l->n, row);
        for (size_t i = 0; i < count; i++) {
            const uint32_t value = (uint32_t)(int32_t)l->weight[i];
            if (l->bits == 8)
                bytes[i] = (uint8_t)value;
            else
                bytes[i / l->k * row + i % l->k / 2] |=
                    (uint8_t)((value & 15) << (i % l->k % 2 * 4));
        }
        network_add(b, name, "weight", l->bits == 8 ? FT_I8 : FT_U8, l->n, row, bytes);
        free(bytes);
    }
}

static inline void network_add_names(file_builder *b, uint32_t features) {
    char *text = malloc(features * 16);
    int32_t *offsets = malloc((features + 1) * sizeof *offsets);
    int at = offsets[0] = 0;
    for (uint32_t j = 0; j < features; j++)
        offsets[j + 1] = at += sprintf(text + at, "Größe_%u", j);
    file_add(b, "names.text", FT_U8, (uint64_t)at, 0, text);
    file_add(b, "names.offsets", FT_I32, features + 1, 0, offsets);
    free(text);
    free(offsets);
}

/* The tensors of the encoding's categories. */
static inline void network_add_categorical(file_builder *b, const char *name, const network *net) {
    const uint32_t features = net->shape.features;
    uint8_t *bytes = malloc(net->embedding_size + 1);
    for (size_t i = 0; i < net->embedding_size; i++)
        bytes[i] = (uint8_t)net->embedding[i];
    network_add(b, name, "categories", FT_I32, features, 0, net->categories);
    if (net->embedding_size) {
        const int integer = net->shape.amax != 0;
        network_add(b, name, "embedding_dims", FT_I32, features, 0, net->dims);
        network_add(b, name, "embedding", integer ? FT_U8 : FT_F32, net->embedding_size, 0,
                    integer ? (void *)bytes : net->embedding);
    }
    free(bytes);
}

static inline void network_add_categories(file_builder *b, const network *net, uint32_t j) {
    char name[32], text[MAX_CATEGORIES_TESTED * 8];
    int32_t offsets[MAX_CATEGORIES_TESTED + 1] = {0}, at = 0;
    const int32_t count = net->categories[j] - 1;
    if (network_has_texts(j)) {
        for (int32_t i = 0; i < count; i++)
            offsets[i + 1] = at += sprintf(text + at, i ? "ä%d" : "", i);
        snprintf(name, sizeof name, "cat.%u.text", j);
        file_add(b, name, FT_U8, (uint64_t)at, 0, text);
        snprintf(name, sizeof name, "cat.%u.offsets", j);
        file_add(b, name, FT_I32, (uint64_t)count + 1, 0, offsets);
    } else {
        snprintf(name, sizeof name, "cat.%u.values", j);
        file_add(b, name, FT_F32, (uint64_t)count, 0, net->values + j * MAX_CATEGORIES_TESTED);
    }
}

/* The tensors of the model; `b` holds them until file_builder_free. */
static inline void network_tensors(const network *net, file_builder *b) {
    const network_shape *shape = &net->shape;
    uint8_t ops[(3 * MAX_LAYERS + 2) * 32] = {0};
    uint32_t count = 0, ends[MAX_LAYERS];
    b->count = 0;
    file_add(b, "ops", FT_U8, sizeof ops, 0, ops);
    if (shape->input != FT_OP_ENCODE_DENSE) {
        const file_record r = {.kind = shape->input, .inputs = shape->features,
                               .outputs = net->layers[0].k, .tensor = 1, .amax_out = shape->amax};
        file_record_write(&r, ops + 32 * count++);
        file_add(b, "input.shift", FT_F32, shape->features, 0, net->shift);
        file_add(b, "input.scale", FT_F32, shape->features, 0, net->scale);
        file_add(b, "input.fill", FT_F32, shape->features, 0, net->fill);
        if (net->frequencies)
            file_add(b, "input.frequencies", FT_F32, shape->features, FREQUENCIES,
                     net->frequencies);
    }
    for (uint32_t i = 0; i < shape->layers; i++) {
        const network_layer *l = &net->layers[i];
        const int encodes = i == 0 && shape->input == FT_OP_ENCODE_DENSE;
        const file_record r = {encodes ? FT_OP_ENCODE_DENSE : FT_OP_DENSE, l->bits,
                               encodes ? shape->features : l->k, l->n, b->count, l->group,
                               l->relu, l->storage, l->amax_in, l->amax_out, 0};
        file_record_write(&r, ops + 32 * count++);
        char name[16];
        snprintf(name, sizeof name, "dense%u", i);
        if (encodes) {
            network_add(b, name, "bins", FT_I32, shape->features, 0, net->bins);
            network_add(b, name, "edges", FT_F32, net->edge_count, 0, net->edges);
            network_add(b, name, "fill", FT_F32, shape->features, 0, net->fill);
            if (shape->categories)
                network_add_categorical(b, name, net);
        }
        network_add_weight(b, name, l);
        if (l->group)
            network_add(b, name, "group_scales", FT_U8, l->n, (l->k + l->group - 1) / l->group,
                        l->scales);
        if (l->bits != 32)
            network_add(b, name, "mult", FT_F32, l->n, 0, l->mult);
        network_add(b, name, l->bits == 32 ? "bias" : "add", FT_F32, l->n, 0, l->add);
        file_record more = {.inputs = l->n, .outputs = l->n, .amax_in = l->amax_out,
                            .amax_out = l->amax_out};
        if (l->activation) {
            more.kind = l->table ? FT_OP_TABLE : FT_OP_ACTIVATE;
            more.tensor = l->table ? b->count : 0;
            more.activation = l->table ? 0 : l->activation;
            file_record_write(&more, ops + 32 * count++);
            if (l->table)
                network_add(b, name, "table", FT_U8, 256, 0, l->table);
        }
        if (l->bound) {
            more.kind = FT_OP_BOUND;
            more.tensor = b->count;
            file_record_write(&more, ops + 32 * count++);
            uint8_t *whole = malloc(l->n);
            for (uint32_t j = 0; l->amax_out && j < l->n; j++)
                whole[j] = (uint8_t)l->bound[j];
            if (l->amax_out)
                network_add(b, name, "bound", FT_U8, l->n, 0, whole);
            else
                network_add(b, name, "bound", FT_F32, l->n, 0, l->bound);
            free(whole);
        }
        if (l->source >= 0) {
            more.kind = FT_OP_ADD;
            more.tensor = l->amax_out ? b->count : 0;
            more.activation = 0;
            more.reserved = ends[l->source];
            file_record_write(&more, ops + 32 * count++);
            if (l->amax_out)
                network_add(b, name, "residual", FT_F32, 3, 0, l->factors);
        }
        ends[i] = count - 1;
    }
    const uint32_t outputs = network_outputs(net);
    const file_record link = {.kind = FT_OP_LINK, .inputs = outputs, .outputs = outputs,
                              .activation = shape->link};
    file_record_write(&link, ops + 32 * count++);
    memcpy(b->tensors[0].data, ops, 32 * count);
    b->tensors[0].shape[0] = b->tensors[0].size = 32 * count;
    if (shape->named)
        network_add_names(b, shape->features);
    for (uint32_t j = 0; shape->categories && j < shape->features; j++)
        if (net->categories[j])
            network_add_categories(b, net, j);
    file_add(b, "info", FT_U8, 2, 0, "{}");
}

static inline file_bytes network_file(const network *net) {
    file_builder b;
    network_tensors(net, &b);
    const file_bytes file = file_write(&b);
    file_builder_free(&b);
    return file;
}

/* ---- the direct calculation ------------------------------------------------------------ */

static inline float network_clamp(float v, float amax) {
    v = v > 0 ? v : 0;
    return v < amax ? v : amax;
}

/* The columns of a categorical feature, whose embedding starts at *embedding; how many. */
static inline int32_t network_encode_category(const network *net, uint32_t j, float x, float *v,
                                              const float **embedding) {
    const int32_t count = net->categories[j] - 1, dim = net->dims[j];
    const int32_t rows = count + 1 + (isnan(net->fill[j]) ? 1 : 0);
    int32_t row = isnan(x) ? rows - 1 : count;
    for (int32_t i = 0; i < count; i++)
        if (net->values[j * MAX_CATEGORIES_TESTED + (uint32_t)i] == x)
            row = i;
    for (int32_t i = 0; i < (dim ? dim : rows); i++)
        v[i] = dim ? (*embedding)[row * dim + i]
                   : i == row ? (float)(net->shape.amax ? net->shape.amax : 1) : 0;
    *embedding += dim * rows;
    return dim ? dim : rows;
}

/* The encoding of one row, one value a column. */
static inline void network_encode(const network *net, const float *x, float *v) {
    const int integer = net->shape.amax != 0;
    const float amax = integer ? (float)net->shape.amax : 1;
    const float *e = net->edges, *embedding = net->embedding;
    for (uint32_t j = 0; j < net->shape.features; j++) {
        if (net->categories[j]) {
            v += network_encode_category(net, j, x[j], v, &embedding);
            continue;
        }
        const int32_t bins = net->bins[j];
        const int learnt = isnan(net->fill[j]), missing = learnt && isnan(x[j]);
        const float value = isnan(x[j]) ? net->fill[j] : x[j];
        int32_t t = 0;
        for (int32_t i = 1; i < bins; i++)
            t += !missing && e[i] <= value;
        for (int32_t i = 0; i < bins; i++) {
            v[i] = missing || i > t ? 0 : amax;
            if (missing || i != t)
                continue;
            const float width = e[i + 1] - e[i];
            const float scale = amax / width;
            v[i] = network_clamp((value - e[i]) * scale, amax);
            if (integer)
                v[i] = rintf(v[i]);
        }
        v += bins;
        if (learnt)
            *v++ = missing ? amax : 0;
        e += bins ? bins + 1 : 0;
    }
}

static inline void network_input(const network *net, const float *x, float *v) {
    for (uint32_t j = 0; j < net->shape.features; j++) {
        const float centred = (isnan(x[j]) ? net->fill[j] : x[j]) - net->shift[j];
        v[j] = centred * net->scale[j];
        if (net->frequencies)
            continue;
        if (net->shape.amax)
            v[j] = rintf(network_clamp(v[j], (float)net->shape.amax));
        else
            v[j] = v[j] > -0x1p32f ? v[j] < 0x1p32f ? v[j] : 0x1p32f : -0x1p32f;
    }
    for (uint32_t j = net->frequencies ? net->shape.features : 0; j-- > 0;) {
        const float scaled = v[j];
        for (uint32_t i = 0; i < FREQUENCIES; i++) {
            const double t = (double)scaled * net->frequencies[j * FREQUENCIES + i];
            const long double a = 6.28318530717958647692528676655900577L * (t - rint(t));
            float y[2] = {fabs(t) < 0x1p51 ? (float)sinl(a) : 0, fabs(t) < 0x1p51 ? (float)cosl(a) : 1};
            for (uint32_t which = 0; which < 2; which++) {
                if (net->shape.amax) {
                    const float up = y[which] + 1;
                    y[which] = rintf(up * ((float)net->shape.amax / 2));
                }
                v[(2 * j + which) * FREQUENCIES + i] = y[which];
            }
        }
    }
}

/* joined: of the columns, where some are embedded; NULL elsewhere. */
static inline float network_output(const network_layer *l, uint32_t n, const float *v,
                                   const uint8_t *joined) {
    const float *w = l->weight + (size_t)n * l->k;
    float y;
    if (l->bits == 32) {
        y = l->add[n];
        for (uint32_t k = 0; k < l->k; k++) {
            float product = v[k] * w[k];
            if (v[k] == 0 && !(joined && k + 1 < l->k && joined[k + 1]))
                continue;
            for (; joined && k + 1 < l->k && joined[k + 1]; k++) {
                const float more = v[k + 1] * w[k + 1];
                product = product + more;
            }
            y = y + product;
        }
    } else {
        int64_t sum = 0;
        for (uint32_t k = 0; k < l->k; k++) {
            const uint32_t groups = l->group ? (l->k + l->group - 1) / l->group : 0;
            const int64_t scale = l->group ? l->scales[n * groups + k / l->group] : 1;
            sum += (int64_t)v[k] * (int64_t)w[k] * scale;
        }
        const float scaled = (float)sum * l->mult[n];
        y = scaled + l->add[n];
    }
    if (l->amax_out)
        y = network_clamp(rintf(y), (float)l->amax_out);
    if (l->table)
        y = l->table[(uint32_t)y];
    else if (l->activation)
        ft_activate(l->activation, 1, &y);
    y = l->relu && !(y > 0) ? 0 : y;
    return l->bound && y > l->bound[n] ? l->bound[n] : y;
}

/* A value with what the layer adds to it. */
static inline float network_add_source(const network_layer *l, float y, float added) {
    if (!l->amax_out)
        return y + added;
    const float own = y * l->factors[0], other = added * l->factors[1], sum = own + other;
    return rintf(network_clamp(sum + l->factors[2], (float)l->amax_out));
}

/* The values before the link, of one row. */
static inline void network_logits(const network *net, const float *x, float *z) {
    size_t room = network_outputs(net) + (size_t)net->shape.features * (MAX_BINS_TESTED + 1);
    float *values = malloc(room * sizeof *values), *outputs[MAX_LAYERS];
    if (net->shape.input == FT_OP_ENCODE_DENSE)
        network_encode(net, x, values);
    else
        network_input(net, x, values);
    for (uint32_t i = 0; i < net->shape.layers; i++) {
        const network_layer *l = &net->layers[i];
        outputs[i] = malloc(l->n * sizeof **outputs);
        for (uint32_t n = 0; n < l->n; n++) {
            outputs[i][n] =
                network_output(l, n, i ? outputs[i - 1] : values, i ? NULL : net->joined);
            if (l->source >= 0)
                outputs[i][n] = network_add_source(l, outputs[i][n], outputs[l->source][n]);
        }
    }
    memcpy(z, outputs[net->shape.layers - 1], network_outputs(net) * sizeof *z);
    for (uint32_t i = 0; i < net->shape.layers; i++)
        free(outputs[i]);
    free(values);
}

static inline void network_scores(const network *net, const float *x, size_t rows, float *scores) {
    const uint32_t n = network_outputs(net);
    float *z = malloc(n * sizeof *z);
    for (size_t i = 0; i < rows; i++, scores += n) {
        network_logits(net, x + i * net->shape.features, z);
        if (net->shape.link == FT_SOFTMAX)
            ft_softmax(z, n, scores);
        for (uint32_t j = 0; j < n && net->shape.link != FT_SOFTMAX; j++)
            scores[j] = net->shape.link == FT_SIGMOID ? ft_sigmoid(z[j])
                        : net->shape.link == FT_EXP   ? ft_exp(z[j])
                                                      : z[j];
    }
    free(z);
}

/* Rows with values in and out of range, on edges, missing, and (for encoders) infinite. */
static inline float *network_rows(const network *net, size_t rows, uint64_t seed) {
    const uint32_t features = net->shape.features;
    float *x = random_floats(&seed, rows * features, -5, 6);
    for (size_t i = 0; i < rows * features; i++) {
        const uint32_t kind = random_below(&seed, 20);
        const int encodes = net->shape.input == FT_OP_ENCODE_DENSE;
        if (kind == 0)
            x[i] = NAN;
        if (kind == 1)
            x[i] = random_below(&seed, 2) ? -0.0f : 0.0f;
        if (kind == 2 && net->edge_count)
            x[i] = net->edges[random_below(&seed, (uint32_t)net->edge_count)];
        if (kind == 3)
            x[i] = random_below(&seed, 2) ? 1e30f : -1e30f;
        if (kind == 4 && encodes)
            x[i] = random_below(&seed, 2) ? INFINITY : -INFINITY;
        const uint32_t j = (uint32_t)(i % features);
        if (kind > 6 && net->categories && net->categories[j] > 1)
            x[i] = net->values[j * MAX_CATEGORIES_TESTED +
                               random_below(&seed, (uint32_t)net->categories[j] - 1)];
    }
    return x;
}

#endif
