# What farthing.kernels, periodic, pruning and export call: packed products, sines, selection,
# Coded weights.
# Arrays come from our own Python code, which checked and laid them out.

cdef class Packed:
    """Integer weights packed for one instruction set by ``farthing.kernels.pack``; immutable."""

    cdef ft_packed packed
    cdef const ft_isa *target

    def __cinit__(self, weights, size_t n, size_t k, uint32_t bits, group_scales, uint32_t group,
                  bint may_skip):
        cdef ft_pack_spec spec
        cdef ft_pack_fault fault
        cdef size_t size
        cdef uint32_t column = 0
        spec.weights = <const int8_t *>contiguous(weights, FT_ELEMENT_I8, &size)
        spec.group_scales = NULL
        if group_scales is not None:
            spec.group_scales = <const uint8_t *>contiguous(group_scales, FT_ELEMENT_U8, &size)
        spec.n, spec.k, spec.bits, spec.group, spec.amax = n, k, bits, group, 255
        spec.may_skip = may_skip
        self.target = ft_isa_current()
        with nogil:
            fault = ft_pack(self.target, &spec, &self.packed, &column)
        if fault == FT_PACK_MEMORY:
            raise MemoryError(f"no memory to pack {n} x {k} weights")
        limit = 127 if bits == 8 else 7
        if fault == FT_PACK_WEIGHT:
            raise ValueError(f"weights must lie in -{limit}..{limit}: output {column} has others")
        if fault == FT_PACK_SCALE:
            raise ValueError(f"group_scales must lie in 1..63: output {column} has others")
        if fault == FT_PACK_OVERFLOW:
            raise ValueError(
                f"weights of output {column} can pass int32: 255 times the sum of its positive "
                "or of its negative weights, group scales included, exceeds 2**31 - 1"
            )
        if fault != FT_PACK_OK:
            raise ValueError(
                f"cannot pack weights of shape ({n}, {k}) with bits={bits}, group_size={group}"
            )

    def __dealloc__(self):
        ft_pack_free(&self.packed)

    @property
    def shape(self) -> tuple:
        """(n, k) of the weights."""
        return self.packed.n, self.packed.k

    @property
    def bits(self) -> int:
        """8 or 4."""
        return self.packed.bits

    @property
    def group_size(self):
        """k values that a group scale covers, or None."""
        return self.packed.group or None

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights and scales in memory."""
        return self.packed.bytes

    @property
    def depth(self) -> tuple:
        """Pair products added up in int16 before widening, for x up to 127 and up to 255."""
        return self.packed.depth_u7, self.packed.depth_u8

    @property
    def layout(self) -> str:
        """"dense"; such as "32x4" where only the blocks of 32 (16, 8) outputs by 4 inputs are
        stored and run that hold a weight other than 0; "lists" where 24 rows or more meet
        lists of the weights other than 0."""
        return layout_of(&self.packed)

    @property
    def isa(self) -> str:
        """The instruction set that the weights are packed for."""
        return self.target.name.decode()

    def __repr__(self):
        return f"Packed(shape={self.shape}, bits={self.bits}, isa={self.isa!r})"


cdef str layout_of(const ft_packed *packed):
    if packed.strip:
        return f"{packed.strip}x4"
    return "lists" if packed.scratch_bytes else "dense"


cdef int multiply(Packed self, size_t m, const uint8_t *a, int32_t *c) except -1:
    cdef int failed
    if m * self.packed.bytes < GIL_BYTES:
        failed = ft_matmul(&self.packed, m, a, c)
    else:
        with nogil:
            failed = ft_matmul(&self.packed, m, a, c)
    if failed:
        raise MemoryError(f"no memory for a product of {m} rows")
    return 0


def packed_matmul(Packed packed not None, x, size_t m, out) -> None:
    """out = x times the packed weights; uint8 (m, k) to int32 (m, n), both C-contiguous."""
    cdef size_t size
    cdef const uint8_t *a = <const uint8_t *>contiguous(x, FT_ELEMENT_U8, &size)
    multiply(packed, m, a, <int32_t *>contiguous(out, FT_ELEMENT_I32, &size))


cdef object multiply_plain(Packed self, PyObject **args, Py_ssize_t count, PyObject *names):
    """The same where x and out are ndarrays as they must be, apart in memory, else nothing."""
    cdef size_t m, rows
    cdef const uint8_t *a
    cdef int32_t *c
    if count != 2 or names != NULL:
        raise TypeError("_multiply() takes x and out")
    a = <const uint8_t *>farthing_matrix(args[0], FT_ELEMENT_U8, self.packed.k, 0, &m)
    if a == NULL:
        return False
    c = <int32_t *>farthing_matrix(
        args[1], FT_ELEMENT_I32, self.packed.n, NPY_ARRAY_WRITEABLE, &rows
    )
    if c == NULL or rows != m or overlap(a, m * self.packed.k, c, 4 * m * self.packed.n):
        return False
    multiply(self, m, a, c)
    return True


cdef const char *MULTIPLY_DOC = b"""_multiply($self, x, out)
--

Writes x times the weights to out and returns True; False, with nothing written, where x or out
needs a closer look.
"""
cdef PyMethodDef multiply_definition

farthing_install_method(
    Packed, &multiply_definition, b"_multiply", <void *>multiply_plain, MULTIPLY_DOC
)


def certified_depth(weights, uint32_t amax) -> int:
    """How many pair products may add up in int16 for activations <= amax: 4, 2, 1 or 0.

    weights: C-contiguous int8 (n, k).
    """
    cdef size_t size
    cdef const int8_t *w = <const int8_t *>contiguous(weights, FT_ELEMENT_I8, &size)
    n, k = weights.shape
    return ft_certified_depth(w, n, k, amax)


def periodic(x, shift, scale, fill, frequencies, out) -> None:
    """The periodic operation (docs/file-format.md) of some rows, into `out`.

    x (rows, features), shift, scale, fill (features,) and frequencies (features, m) are float32;
    out is (rows, 2 * m * features), float32.  All are C-contiguous.
    """
    periodic_rows(x, shift, scale, fill, frequencies, 0, out, FT_ELEMENT_F32, 4)


def periodic_codes(x, shift, scale, fill, frequencies, uint32_t amax, out) -> None:
    """The same rounded to integers in 0..amax, 127 or 255; out is uint8."""
    periodic_rows(x, shift, scale, fill, frequencies, amax, out, FT_ELEMENT_U8, 1)


cdef int periodic_rows(
    x, shift, scale, fill, frequencies, uint32_t amax, out, ft_element element, size_t itemsize
) except -1:
    cdef ft_scaler scaler
    cdef size_t size, rows, features, m, i
    rows, features = x.shape
    m = frequencies.shape[1]
    if out.shape != (rows, 2 * m * features):
        raise ValueError(f"out must be {rows} x {2 * m * features}, got shape {out.shape}")
    cdef const float *row = <const float *>contiguous(x, FT_ELEMENT_F32, &size)
    cdef const float *f = <const float *>contiguous(frequencies, FT_ELEMENT_F32, &size)
    cdef char *y = <char *>contiguous(out, element, &size)
    scaler.n, scaler.out_amax = features, amax
    scaler.shift = <const float *>contiguous(shift, FT_ELEMENT_F32, &size)
    scaler.scale = <const float *>contiguous(scale, FT_ELEMENT_F32, &size)
    scaler.fill = <const float *>contiguous(fill, FT_ELEMENT_F32, &size)
    cdef ft_env saved
    with nogil:
        saved = ft_env_enter()
        for i in range(rows):
            ft_periodic(&scaler, m, f, row + i * features, y + i * 2 * m * features * itemsize)
        ft_env_leave(saved)
    return 0


def prune_select(scores, size_t drop):
    """bool (units,): False for the `drop` units of smallest score, lower index first on ties.

    scores: C-contiguous float32 without NaN, of any shape, taken flat.
    """
    cdef size_t size
    cdef const float *s = <const float *>contiguous(scores, FT_ELEMENT_F32, &size)
    keep = empty(size, "uint8")
    cdef size_t same
    cdef uint8_t *k = <uint8_t *>contiguous(keep, FT_ELEMENT_U8, &same)
    cdef int failed
    if drop > size:
        raise ValueError(f"drop must be at most the {size} scores, got {drop}")
    with nogil:
        failed = ft_prune_select(s, size, drop, k)
    if failed:
        raise MemoryError(f"no memory to select among {size} scores")
    return keep.view("bool")


def prune_scores(weights, size_t block_rows, size_t block_columns, bint l2):
    """float32 (ceil(n / block_rows), ceil(k / block_columns)): the L1 or L2 norm of each block.

    weights: C-contiguous float32 (n, k).
    """
    cdef size_t size, n, k
    cdef const float *w = <const float *>contiguous(weights, FT_ELEMENT_F32, &size)
    n, k = weights.shape
    if block_rows == 0 or block_columns == 0:
        raise ValueError("block_rows and block_columns must be at least 1")
    blocks = ((n + block_rows - 1) // block_rows, (k + block_columns - 1) // block_columns)
    scores = empty(blocks, "float32")
    cdef float *s = <float *>contiguous(scores, FT_ELEMENT_F32, &size)
    with nogil:
        ft_prune_scores(w, n, k, block_rows, block_columns, l2, s)
    return scores


def prune_neighbours(weights, size_t stay, size_t of):
    """bool (n, k): True for the `stay` largest magnitudes among every `of` neighbours along k.

    weights: C-contiguous float32 (n, k), k a multiple of `of`.
    """
    cdef size_t size, n, k
    cdef const float *w = <const float *>contiguous(weights, FT_ELEMENT_F32, &size)
    n, k = weights.shape
    if of == 0 or k % of:
        raise ValueError(f"of must divide the {k} columns, got {of}")
    keep = empty((n, k), "uint8")
    cdef uint8_t *kept = <uint8_t *>contiguous(keep, FT_ELEMENT_U8, &size)
    with nogil:
        ft_prune_neighbours(w, n, k, stay, of, kept)
    return keep.view("bool")


def encode_weights(values, uint32_t bits, size_t room):
    """The coded form (docs/file-format.md) of C-contiguous uint32 patterns (n, k), bytes; None where
    it is longer than `room`."""
    cdef size_t size
    cdef const uint32_t *v = <const uint32_t *>contiguous(values, FT_ELEMENT_U32, &size)
    cdef uint32_t n, k
    check_bits(bits)
    n, k = values.shape
    coded = bytearray(room)
    size = ft_coding_encode(v, n, k, bits, <uint8_t *><char *>coded, room)
    if n and k and not size:
        raise MemoryError("no memory to code weights")
    return bytes(coded[:size]) if size <= room else None


def decode_weights(bytes data not None, uint32_t n, uint32_t k, uint32_t bits):
    """uint32 patterns (n, k); FarthingError where `data` is not exactly their coded form."""
    cdef size_t size
    check_bits(bits)
    values = empty((n, k), "uint32")
    cdef uint32_t *v = <uint32_t *>contiguous(values, FT_ELEMENT_U32, &size)
    cdef int fault = ft_coding_decode(<const uint8_t *><const char *>data, len(data), n, k, bits, v)
    if fault == -2:
        raise MemoryError("no memory to decode weights")
    if fault:
        raise FarthingError(f"not {n} x {k} coded values of {bits} bits")
    return values


cdef int check_bits(uint32_t bits) except -1:
    if bits not in (4, 8, 32):
        raise ValueError(f"bits must be 4, 8 or 32, got {bits}")
    return 0
