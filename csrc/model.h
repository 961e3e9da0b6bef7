/* A model opened: its operations checked, its weights packed, its memory planned. */
#ifndef FT_MODEL_H
#define FT_MODEL_H

#include "container.h"
#include "encode.h"
#include "farthing.h"
#include "kernels.h"

/* Operation record of 32 little-endian bytes, see docs/file-format.md. */
typedef enum ft_kind {
    FT_OP_STANDARDIZE = 1,
    FT_OP_QUANTIZE = 2,
    FT_OP_DENSE = 3,
    FT_OP_ENCODE_DENSE = 4,
    FT_OP_LINK = 5,
    FT_OP_TABLE = 6,
    FT_OP_ACTIVATE = 7,
    FT_OP_ADD = 8,
    FT_OP_PERIODIC = 9
} ft_kind;

typedef enum ft_activation {
    FT_LINEAR = 0,
    FT_RELU = 1,
    FT_SIGMOID = 2,
    FT_SOFTMAX = 3,
    FT_EXP = 4,
    FT_TANH = 5,
    FT_GELU = 6,
    FT_SILU = 7,
    FT_LOGISTIC = 8
} ft_activation;

/* The categories of one feature: texts, sorted by their bytes, or numbers, or neither where the
 * feature is numeric. */
typedef struct ft_categories {
    uint32_t count;
    char *text;
    uint32_t *offsets; /* [count + 1] */
    float *values;     /* [count], increasing */
} ft_categories;

typedef struct ft_op {
    uint32_t kind, bits, inputs, outputs, tensor, group_size, activation, storage;
    uint32_t amax_in, amax_out;
    uint32_t source; /* FT_OP_ADD: the operation whose output it adds */
    char name[FT_NAME_MAX + 1]; /* "dense0", also of kinds 6 to 8 behind it; "input"; "" for the link */
    uint32_t width;             /* weights of one output: inputs, or columns of the encoding */
    uint64_t nonzeros;          /* weights that are not 0 */
    uint32_t stride;            /* bytes from one row of its output in scratch to the next */
    uint32_t area;              /* of scratch, where that lies */
    /* what the kind needs */
    float *shift, *scale; /* kinds 1, 2, 9: [inputs] */
    float *frequencies;   /* kind 9: [inputs][outputs / 2 / inputs] */
    float *fill;          /* kinds 1, 2, 4, 9: [inputs] what NaN stands for; NaN in kind 4: a
                             learnt row stands for it */
    ft_packed dense;
    ft_packed_f32 dense_f32;
    ft_encoder encoder;
    ft_encoded encoded;
    uint8_t *table;    /* FT_OP_TABLE: [256] */
    float residual[3]; /* FT_OP_ADD, integer: the factors of what it changes and adds; a term */
} ft_op;

/* Whether an operation only prepares the raw features. */
static inline int ft_is_input(const ft_op *op) {
    return op->kind == FT_OP_STANDARDIZE || op->kind == FT_OP_QUANTIZE ||
           op->kind == FT_OP_PERIODIC;
}

/* Whether an operation changes the output of the one before it where that lies. */
static inline int ft_is_in_place(const ft_op *op) {
    return op->kind >= FT_OP_TABLE && op->kind <= FT_OP_ADD;
}

/* Areas of scratch: a layer's input, its output, and one output kept for a later FT_OP_ADD. */
#define FT_AREAS 3

struct ft_model {
    uint32_t features, outputs, ops_count;
    ft_op *ops;
    const ft_isa *isa;
    size_t nbytes; /* packed weights and tables in memory */

    /* Feature i is called names[name_offsets[i]] .. names[name_offsets[i + 1]], UTF-8; both
     * NULL where the features have no names. */
    char *names;
    uint32_t *name_offsets;
    ft_categories *categories; /* [features]; NULL where every feature is numeric */
    char *info; /* UTF-8 JSON for bindings, not terminated */
    size_t info_size;

    /* Memory plan of a call: the codes of one row's encoding, or in a batch what else an operation
     * works in, then areas of tile rows that take the outputs of the operations. */
    size_t codes_bytes, area_bytes[FT_AREAS]; /* of one row */
    size_t shared_bytes;               /* codes_bytes, or more where a batch needs more */
    size_t row_bytes;                  /* their sum: the scratch of one row */
    uint32_t tile;                     /* rows of a batch run at once */
    size_t scratch_bytes;              /* of a tile */
    void *workspaces;                  /* free list of such scratch */
};

/* The code of a text of `length` bytes among those of a feature; -1 where it is not there. */
float ft_category_of(const ft_categories *categories, const char *text, size_t length);

#endif
