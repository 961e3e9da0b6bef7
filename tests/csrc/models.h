/* One model of every kind that the tests of opening and running share. */
#ifndef FT_TESTS_MODELS_H
#define FT_TESTS_MODELS_H

#include "network.h"

enum {
    STANDARDIZE = FT_OP_STANDARDIZE, QUANTIZE = FT_OP_QUANTIZE, ENCODE = FT_OP_ENCODE_DENSE,
    PERIODIC = FT_OP_PERIODIC
};

/* what, input, features, amax, layers; of every layer outputs, bits, group size, storage; link,
 * named, largest weight (0: any), ReLU in the last float layer, categories,
 * activation, residuals */
static const network_shape shapes[] = {
    {"float", STANDARDIZE, 13, 0, 2, {9, 1}, {32, 32}, {0}, {0}, FT_SIGMOID, 1, 0, 0, 0, 0, 0},
    {"float, three layers, sparse", STANDARDIZE, 40, 0, 3, {33, 17, 5}, {32, 32, 32}, {0},
     {0, 1, 0}, FT_LINEAR, 0, 0, 1, 0, 0, 0},
    {"float, one layer", STANDARDIZE, 1, 0, 1, {1}, {32}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
    {"float softmax", STANDARDIZE, 6, 0, 1, {4}, {32}, {0}, {0}, FT_SOFTMAX, 1, 0, 0, 0, 0, 0},
    {"encoded float", ENCODE, 23, 0, 2, {32, 1}, {32, 32}, {0}, {0}, FT_SIGMOID, 1, 0, 0, 0, 0, 0},
    {"encoded float, one layer, sparse", ENCODE, 9, 0, 1, {3}, {32}, {0}, {1}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
    {"encoded int8", ENCODE, 23, 127, 2, {32, 1}, {8, 8}, {0}, {0}, FT_SIGMOID, 1, 64, 0, 0, 0, 0},
    {"encoded int8, int4 in groups, int8", ENCODE, 23, 127, 3, {65, 33, 1}, {8, 4, 8}, {0, 32, 0},
     {0, 1, 0}, FT_SIGMOID, 1, 0, 0, 0, 0, 0},
    {"encoded int4, sparse, groups of 64", ENCODE, 23, 127, 3, {70, 16, 2}, {4, 4, 4}, {0, 64, 0},
     {1, 1, 1}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
    {"encoded int4, u8", ENCODE, 8, 255, 3, {35, 40, 3}, {4, 4, 4}, {0, 32, 32}, {0, 0, 0},
     FT_SOFTMAX, 0, 0, 0, 0, 0, 0},
    {"encoded, one integer layer", ENCODE, 3, 127, 1, {1}, {8}, {0}, {0}, FT_SIGMOID, 0, 0, 0, 0, 0, 0},
    {"quantized", QUANTIZE, 64, 127, 3, {100, 50, 1}, {8, 8, 8}, {0}, {0}, FT_SIGMOID, 1, 64, 0, 0, 0, 0},
    {"quantized u8", QUANTIZE, 17, 255, 2, {31, 7}, {8, 4}, {0, 0}, {1, 0}, FT_SOFTMAX, 0, 0, 0, 0, 0, 0},
    {"quantized, one layer", QUANTIZE, 5, 255, 1, {2}, {8}, {0}, {0}, FT_LINEAR, 1, 0, 0, 0, 0, 0},
    {"categories, float", ENCODE, 23, 0, 2, {33, 1}, {32, 32}, {0}, {0}, FT_EXP, 1, 0, 0, 1, 0, 0},
    {"embedded, float, sparse", ENCODE, 31, 0, 2, {70, 3}, {32, 32}, {0}, {1}, FT_LINEAR, 0, 0, 0,
     2, 0, 0},
    {"categories, int8", ENCODE, 23, 127, 2, {32, 1}, {8, 8}, {0}, {0}, FT_SIGMOID, 1, 64, 0, 1, 0, 0},
    {"embedded, int8, u8", ENCODE, 40, 255, 2, {96, 4}, {8, 8}, {0}, {1}, FT_SOFTMAX, 1, 0, 0, 2, 0, 0},
    {"embedded, int4", ENCODE, 18, 127, 3, {35, 24, 1}, {4, 4, 8}, {0, 32, 0}, {0}, FT_EXP, 0, 0,
     0, 2, 0, 0},
    {"embedded, one layer", ENCODE, 2, 127, 1, {1}, {8}, {0}, {0}, FT_LINEAR, 0, 0, 0, 2, 0, 0},
    {"tanh", STANDARDIZE, 7, 0, 3, {12, 12, 1}, {32, 32, 32}, {0}, {0}, FT_SIGMOID, 1, 0, 0, 0,
     FT_TANH, 0},
    {"GELU, residual", ENCODE, 9, 0, 4, {13, 13, 13, 2}, {32, 32, 32, 32}, {0}, {0}, FT_LINEAR, 0,
     0, 0, 1, FT_GELU, 1},
    {"SiLU, residual from afar", STANDARDIZE, 7, 0, 6, {17, 17, 9, 9, 17, 1},
     {32, 32, 32, 32, 32, 32}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0, FT_SILU, 2},
    {"sigmoid, residual", STANDARDIZE, 5, 0, 3, {70, 70, 3}, {32, 32, 32}, {0}, {0, 1, 0},
     FT_SOFTMAX, 0, 0, 0, 0, FT_LOGISTIC, 1},
    {"ReLU, residual", ENCODE, 12, 0, 3, {33, 33, 1}, {32, 32, 32}, {0}, {0}, FT_LINEAR, 0, 0, 0,
     0, 0, 1},
    {"integer residual", ENCODE, 12, 127, 4, {33, 33, 33, 1}, {8, 8, 4, 8}, {0, 0, 32, 0}, {0},
     FT_LINEAR, 0, 0, 0, 1, 0, 1},
    {"integer table", QUANTIZE, 12, 127, 3, {40, 24, 1}, {8, 4, 8}, {0}, {0}, FT_EXP, 0, 0, 0, 0,
     FT_TANH, 0},
    {"integer table, residual from afar, u8", ENCODE, 12, 255, 6, {35, 35, 20, 20, 35, 2},
     {8, 8, 8, 8, 8, 8}, {0}, {0}, FT_SOFTMAX, 1, 0, 0, 2, FT_GELU, 2},
    {"bounded", ENCODE, 9, 0, 3, {35, 20, 1}, {32, 32, 32}, {0}, {0}, FT_SIGMOID, 0, 0, 0, 0,
     BOUNDED, 0},
    {"bounded, residual", STANDARDIZE, 7, 0, 4, {17, 17, 17, 2}, {32, 32, 32, 32}, {0}, {0},
     FT_LINEAR, 0, 0, 0, 0, BOUNDED, 1},
    {"integer bounds", ENCODE, 9, 127, 3, {70, 33, 1}, {8, 4, 8}, {0, 32, 0}, {0}, FT_SIGMOID, 0, 0, 0,
     1, BOUNDED, 0},
    {"integer bounds, residual, u8", QUANTIZE, 9, 255, 4, {35, 35, 35, 1}, {8, 8, 4, 8}, {0}, {0},
     FT_LINEAR, 0, 0, 0, 0, BOUNDED, 1},
    {"periodic", PERIODIC, 5, 0, 2, {20, 1}, {32, 32}, {0}, {0}, FT_SIGMOID, 1, 0, 0, 0, 0, 0},
    {"periodic, int8", PERIODIC, 9, 127, 2, {32, 3}, {8, 8}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
    {"periodic, u8", PERIODIC, 2, 255, 2, {12, 1}, {8, 4}, {0}, {0}, FT_LINEAR, 0, 0, 0,
     0, 0, 0},
    {"workspace, residual", STANDARDIZE, 3, 0, 3, {2400, 2400, 1}, {32, 32, 32}, {0}, {1, 1, 0},
     FT_LINEAR, 0, 0, 0, 0, 0, 1},
    {"workspace, float", STANDARDIZE, 7, 0, 2, {4000, 1}, {32, 32}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
    {"workspace, int8", ENCODE, 6, 127, 3, {15000, 40, 1}, {8, 4, 8}, {0, 64, 0}, {1, 1, 0},
     FT_SIGMOID, 0, 0, 0, 0, 0, 0},
    {"workspace, wide input", QUANTIZE, 20000, 127, 1, {2}, {8}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static inline ft_model *open_network(const network *net) {
    const file_bytes file = network_file(net);
    ft_model *model = NULL;
    const ft_status status = ft_open_memory(file.data, file.size, &model);
    CHECK(status == FT_OK, "%s: %s", net->shape.what, ft_last_error());
    memset(file.data, 0xa5, file.size); /* nothing may refer to it any more */
    free(file.data);
    if (!model)
        exit(check_report());
    return model;
}

static inline int is_wide(const network *net) {
    return net->shape.features > 1000 || net->shape.outputs[0] > 1000;
}

#endif
