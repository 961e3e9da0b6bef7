#include "convert.h"

#include "env.h"

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define FT_BIG_ENDIAN 1
#else
#define FT_BIG_ENDIAN 0
#endif

static const struct {
    const char *name;
    char kind; /* ? bool, i signed, u unsigned, f float */
    unsigned char size;
} elements[] = {
    {"no number", 0, 0}, {"bool", '?', 1},    {"int8", 'i', 1},   {"uint8", 'u', 1},
    {"int16", 'i', 2},   {"uint16", 'u', 2},  {"int32", 'i', 4},  {"uint32", 'u', 4},
    {"int64", 'i', 8},   {"uint64", 'u', 8},  {"float16", 'f', 2}, {"float32", 'f', 4},
    {"float64", 'f', 8},
};

const char *ft_element_name(ft_element type) { return elements[type].name; }

ft_element ft_element_of(const char *format, size_t itemsize, int *swapped) {
    char kind = 0;

    *swapped = 0;
    if (!format)
        format = "B";
    if (*format && strchr("@=<>!", *format)) {
        if (*format == '<')
            *swapped = FT_BIG_ENDIAN;
        else if (*format == '>' || *format == '!')
            *swapped = !FT_BIG_ENDIAN;
        format++;
    }
    if (format[0] && !format[1]) {
        if (*format == '?')
            kind = '?';
        else if (strchr("bhilqn", *format))
            kind = 'i';
        else if (strchr("BHILQN", *format))
            kind = 'u';
        else if (strchr("efd", *format))
            kind = 'f';
    }
    for (size_t i = 1; i < sizeof elements / sizeof elements[0]; i++)
        if (elements[i].kind == kind && elements[i].size == itemsize)
            return (ft_element)i;
    return FT_ELEMENT_OTHER;
}

int ft_is_float_rows(const ft_strided *x) {
    if (x->type != FT_ELEMENT_F32 || x->swapped || (uintptr_t)x->data % sizeof(float))
        return 0;
    /* The stride of a dimension of one element, or beside one of none, is never used. */
    return !x->rows || !x->columns ||
           ((x->columns < 2 || x->column_stride == (ptrdiff_t)sizeof(float)) &&
            (x->rows < 2 || x->row_stride == (ptrdiff_t)(x->columns * sizeof(float))));
}

static uint8_t swap8(uint8_t v) { return v; }
static uint16_t swap16(uint16_t v) { return (uint16_t)(v << 8 | v >> 8); }
static uint32_t swap32(uint32_t v) {
    return (uint32_t)swap16((uint16_t)v) << 16 | swap16((uint16_t)(v >> 16));
}
static uint64_t swap64(uint64_t v) {
    return (uint64_t)swap32((uint32_t)v) << 32 | swap32((uint32_t)(v >> 32));
}

static float float_of_bits(uint32_t bits) {
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half >> 15) << 31, rest = half & 0x7fffu;

    if (rest < 0x400) { /* subnormal or zero: a multiple of 2^-24, exact in float */
        float value = (float)rest * 0x1p-24f;

        return sign ? -value : value;
    }
    if (rest >= 0x7c00) /* infinity or NaN */
        return float_of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    return float_of_bits(sign | ((rest << 13) + (112u << 23))); /* biases 15 and 127 */
}

static float double_bits_to_float(uint64_t bits) {
    double value;

    memcpy(&value, &bits, sizeof value);
    return (float)value;
}

#define DEFINE_CONVERT(name, width, expression)                                                    \
    static void name(const ft_strided *x, float *out) {                                            \
        const char *row = x->data;                                                                 \
                                                                                                   \
        for (size_t r = 0; r < x->rows; r++, row += x->row_stride) {                               \
            const char *element = row;                                                             \
                                                                                                   \
            for (size_t c = 0; c < x->columns; c++, element += x->column_stride) {                 \
                uint##width##_t raw;                                                               \
                                                                                                   \
                memcpy(&raw, element, sizeof raw);                                                 \
                if (x->swapped)                                                                    \
                    raw = swap##width(raw);                                                        \
                *out++ = (expression);                                                             \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_CONVERT(from_bool, 8, raw ? 1.0f : 0.0f)
DEFINE_CONVERT(from_i8, 8, (float)(int8_t)raw)
DEFINE_CONVERT(from_u8, 8, (float)raw)
DEFINE_CONVERT(from_i16, 16, (float)(int16_t)raw)
DEFINE_CONVERT(from_u16, 16, (float)raw)
DEFINE_CONVERT(from_i32, 32, (float)(int32_t)raw)
DEFINE_CONVERT(from_u32, 32, (float)raw)
DEFINE_CONVERT(from_i64, 64, (float)(int64_t)raw)
DEFINE_CONVERT(from_u64, 64, (float)raw)
DEFINE_CONVERT(from_f16, 16, half_to_float(raw))
DEFINE_CONVERT(from_f32, 32, float_of_bits(raw))
DEFINE_CONVERT(from_f64, 64, double_bits_to_float(raw))

void ft_to_float_rows(const ft_strided *x, float *out) {
    static void (*const convert[])(const ft_strided *, float *) = {
        NULL,     from_bool, from_i8,  from_u8,  from_i16, from_u16, from_i32,
        from_u32, from_i64,  from_u64, from_f16, from_f32, from_f64,
    };

    const ft_env saved = ft_env_enter();

    convert[x->type](x, out);
    ft_env_leave(saved);
}

FT_NOINLINE float ft_float_of_double(double value) { return (float)value; }
FT_NOINLINE float ft_float_of_int64(int64_t value) { return (float)value; }
