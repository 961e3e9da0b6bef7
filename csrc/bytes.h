/* Little-endian values at any address. */
#ifndef FT_BYTES_H
#define FT_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t ft_read_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t ft_read_u32(const uint8_t *p) {
    return (uint32_t)ft_read_u16(p) | (uint32_t)ft_read_u16(p + 2) << 16;
}

static inline float ft_float_of(uint32_t pattern) {
    float value;
    memcpy(&value, &pattern, sizeof value);
    return value;
}

static inline float ft_read_f32(const uint8_t *p) {
    return ft_float_of(ft_read_u32(p));
}

#endif
