# What farthing.kernels calls to convert weights and values; arrays come checked and laid out.

def value_range(x) -> tuple:
    """(least, largest) of C-contiguous float32 x, NaN left out; (inf, -inf) where nothing is."""
    cdef size_t size
    cdef const float *values = <const float *>contiguous(x, FT_ELEMENT_F32, &size)
    cdef const ft_isa *isa = ft_isa_current()
    cdef float low = float("inf"), high = -float("inf")
    with nogil:
        isa.range(values, size, &low, &high)
    return low, high


def histogram(x, float low, float high, uint32_t bins):
    """uint64 (bins,): how many of C-contiguous float32 x lie in each part of [low, high]."""
    cdef size_t size, same
    cdef const float *values = <const float *>contiguous(x, FT_ELEMENT_F32, &size)
    if not 1 <= bins <= FT_MOST_PARTS:
        raise ValueError(f"bins must be 1 to {FT_MOST_PARTS}, got {bins}")
    counts = empty(bins, "uint64")
    cdef uint64_t *c = <uint64_t *>contiguous(counts, FT_ELEMENT_U64, &same)
    with nogil:
        ft_histogram(values, size, low, high, bins, c)
    return counts


def quantize_rows(x, scale, int32_t limit):
    """int8 (n, k) from C-contiguous float32 (n, k) and (n,)."""
    cdef size_t size, n, k
    cdef const float *values = <const float *>contiguous(x, FT_ELEMENT_F32, &size)
    cdef const float *scales = <const float *>contiguous(scale, FT_ELEMENT_F32, &size)
    cdef const ft_isa *isa = ft_isa_current()
    n, k = x.shape
    q = empty((n, k), "int8")
    cdef int8_t *out = <int8_t *>contiguous(q, FT_ELEMENT_I8, &size)
    with nogil:
        ft_quantize_rows(isa, values, n, k, scales, limit, out)
    return q


def dequantize_rows(q, scale):
    """float32 (n, k) from C-contiguous int8 (n, k) and float32 (n,)."""
    cdef size_t size, n, k
    cdef const int8_t *values = <const int8_t *>contiguous(q, FT_ELEMENT_I8, &size)
    cdef const float *scales = <const float *>contiguous(scale, FT_ELEMENT_F32, &size)
    cdef const ft_isa *isa = ft_isa_current()
    n, k = q.shape
    x = empty((n, k), "float32")
    cdef float *out = <float *>contiguous(x, FT_ELEMENT_F32, &size)
    with nogil:
        ft_dequantize_rows(isa, values, n, k, scales, out)
    return x


def join_nibbles(q):
    """uint8 (n, ceil(k / 2)) from C-contiguous int8 (n, k) in -8..7."""
    cdef size_t size, n, k
    cdef const int8_t *values = <const int8_t *>contiguous(q, FT_ELEMENT_I8, &size)
    cdef const ft_isa *isa = ft_isa_current()
    n, k = q.shape
    nibbles = empty((n, (k + 1) // 2), "uint8")
    cdef uint8_t *out = <uint8_t *>contiguous(nibbles, FT_ELEMENT_U8, &size)
    with nogil:
        ft_join_rows(isa, values, n, k, out)
    return nibbles


def split_nibbles(nibbles, size_t k):
    """int8 (n, k) from C-contiguous uint8 (n, ceil(k / 2))."""
    cdef size_t size, n
    cdef const uint8_t *values = <const uint8_t *>contiguous(nibbles, FT_ELEMENT_U8, &size)
    cdef const ft_isa *isa = ft_isa_current()
    n = nibbles.shape[0]
    if nibbles.shape[1] != (k + 1) // 2:
        raise ValueError(f"nibbles must have {(k + 1) // 2} columns for k={k}")
    q = empty((n, k), "int8")
    cdef int8_t *out = <int8_t *>contiguous(q, FT_ELEMENT_I8, &size)
    with nogil:
        ft_split_rows(isa, values, n, k, out)
    return q
