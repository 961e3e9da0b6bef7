/* Farthing's C API: open a .farthing model, score rows of raw features, close it.
 *
 * Every function that can fail returns an ft_status; ft_last_error() then holds the
 * reason for this thread.  A model is immutable: any number of threads may call
 * ft_predict on one model at the same time. */
#ifndef FARTHING_H
#define FARTHING_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FT_API __attribute__((visibility("default")))
#else
#define FT_API
#endif

typedef struct ft_model ft_model;

typedef enum ft_status {
    FT_OK = 0,
    FT_ERR_ARGUMENT = 1, /* a NULL pointer, or an input value the model refuses */
    FT_ERR_IO = 2,       /* the file cannot be opened or read */
    FT_ERR_FORMAT = 3,   /* the bytes are not a valid .farthing file */
    FT_ERR_VERSION = 4,  /* a .farthing file of a version this library does not know */
    FT_ERR_MEMORY = 5    /* out of memory */
} ft_status;

/* Reads the file at `path` into memory; nothing refers to the file afterwards. */
FT_API ft_status ft_open(const char *path, ft_model **out);

/* The same from `size` bytes, which are copied. */
FT_API ft_status ft_open_memory(const void *data, size_t size, ft_model **out);

/* Scores `rows` rows of ft_features(model) float32 values each (row-major, NaN means
 * missing) into rows x ft_outputs(model) float32 scores.  rows = 0 is success.
 * On failure nothing has been written to `scores`. */
FT_API ft_status ft_predict(const ft_model *model, const float *x, size_t rows, float *scores);

/* The value that stands for a text in x: of a feature whose categories are texts, *code is
 * 0, 1, ... for a known one, -1 for any other.  A text is UTF-8, compared byte by byte.
 * FT_ERR_ARGUMENT where there is no such feature, or where its values are numbers, categories or
 * not: those go into x as they are. */
FT_API ft_status ft_category(const ft_model *model, size_t feature, const char *text, float *code);

FT_API size_t ft_features(const ft_model *model);
FT_API size_t ft_outputs(const ft_model *model);

/* NULL is allowed. */
FT_API void ft_close(ft_model *model);

/* The reason of this thread's last failure; "" before the first one. */
FT_API const char *ft_last_error(void);
FT_API const char *ft_status_text(ft_status status);
FT_API const char *ft_version(void);

#ifdef __cplusplus
}
#endif
#endif
