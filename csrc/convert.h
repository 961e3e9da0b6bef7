/* Raw features from a caller's buffer to rows of float32: any element type of up to 64 bits,
 * any strides, either byte order, one rounding. */
#ifndef FT_CONVERT_H
#define FT_CONVERT_H

#include <stddef.h>
#include <stdint.h>

typedef enum ft_element {
    FT_ELEMENT_OTHER = 0, /* no number, or one of another width */
    FT_ELEMENT_BOOL,
    FT_ELEMENT_I8,
    FT_ELEMENT_U8,
    FT_ELEMENT_I16,
    FT_ELEMENT_U16,
    FT_ELEMENT_I32,
    FT_ELEMENT_U32,
    FT_ELEMENT_I64,
    FT_ELEMENT_U64,
    FT_ELEMENT_F16,
    FT_ELEMENT_F32,
    FT_ELEMENT_F64
} ft_element;

typedef struct ft_strided {
    const void *data;
    ft_element type;
    int swapped; /* the byte order is not this machine's */
    size_t rows, columns;
    ptrdiff_t row_stride, column_stride; /* bytes */
} ft_strided;

/* The element a PEP 3118 format string of that item size means (NULL: unsigned bytes). */
ft_element ft_element_of(const char *format, size_t itemsize, int *swapped);
const char *ft_element_name(ft_element type);

/* Whether the data can be read as C float[rows][columns] where it lies. */
int ft_is_float_rows(const ft_strided *x);

/* Every element rounded once, to nearest: out[rows][columns].  The type is not OTHER. */
void ft_to_float_rows(const ft_strided *x, float *out);

/* One number, rounded once in the floating-point environment that the caller has entered
 * (env.h). */
float ft_float_of_double(double value);
float ft_float_of_int64(int64_t value);

#endif
