# The parts of csrc/*.h, numpy's struct and _fastcall.h that the binding uses.

cdef extern from "farthing.h":
    ctypedef struct ft_model:
        uint32_t features
        uint32_t outputs
        uint32_t ops_count
        ft_op *ops
        const ft_isa *isa
        size_t nbytes
        const char *names
        const uint32_t *name_offsets
        const ft_categories *categories
        const char *info
        size_t info_size
    ctypedef enum ft_status:
        FT_OK
        FT_ERR_FORMAT
        FT_ERR_VERSION
        FT_ERR_MEMORY
    ft_status ft_open_memory(const void *data, size_t size, ft_model **out)
    ft_status ft_predict(
        const ft_model *model, const float *x, size_t rows, float *scores
    ) nogil
    size_t ft_features(const ft_model *model)
    size_t ft_outputs(const ft_model *model)
    void ft_close(ft_model *model)
    const char *ft_last_error()
    const char *ft_version()

cdef extern from "kernels.h":
    ctypedef void (*ft_range_pointer)(const float *x, size_t count, float *low, float *high) noexcept nogil
    ctypedef struct ft_isa:
        const char *name
        ft_range_pointer range
    ctypedef struct ft_packed:
        uint32_t n
        uint32_t k
        uint32_t bits
        uint32_t group
        uint32_t depth_u7
        uint32_t depth_u8
        uint32_t amax
        uint32_t strip
        size_t scratch_bytes
        size_t bytes
    ctypedef struct ft_packed_f32:
        size_t bytes
    ctypedef struct ft_encoder_feature:
        uint32_t column
    ctypedef struct ft_categorical:
        uint32_t rows
        uint32_t count
        uint32_t dim
    ctypedef struct ft_encoder:
        uint32_t used
        uint32_t rows
        const ft_encoder_feature *feature
        const ft_categorical *categorical
    ctypedef struct ft_encoded:
        size_t bytes

cdef extern from "model.h":
    enum: FT_OP_STANDARDIZE
    enum: FT_OP_QUANTIZE
    enum: FT_OP_DENSE
    enum: FT_OP_ENCODE_DENSE
    ctypedef struct ft_op:
        uint32_t kind
        uint32_t bits
        uint32_t inputs
        uint32_t outputs
        uint32_t tensor
        uint32_t group_size
        uint32_t activation
        uint32_t storage
        uint32_t amax_in
        uint32_t amax_out
        uint32_t source
        const char *name
        uint32_t width
        uint64_t nonzeros
        const float *fill
        ft_packed dense
        ft_packed_f32 dense_f32
        ft_encoder encoder
        ft_encoded encoded
    ctypedef struct ft_categories:
        uint32_t count
        const char *text
        const uint32_t *offsets
        const float *values
    float ft_category_of(const ft_categories *categories, const char *text, size_t length)

cdef extern from "container.h":
    ctypedef struct ft_tensor:
        const char *name
        int dtype
        uint32_t dims
        uint64_t *shape
        const uint8_t *data
        size_t size
    ctypedef struct ft_container:
        uint32_t count
        ft_tensor *tensors
    ft_status ft_container_parse(
        const uint8_t *data, size_t size, ft_container *out, char *reason, size_t reason_size
    )
    void ft_container_free(ft_container *container)
    uint64_t ft_checksum(const uint8_t *data, size_t size, size_t digits)

cdef extern from "convert.h":
    ctypedef enum ft_element:
        FT_ELEMENT_OTHER
        FT_ELEMENT_I8
        FT_ELEMENT_U8
        FT_ELEMENT_I32
        FT_ELEMENT_U32
        FT_ELEMENT_F32
        FT_ELEMENT_U64
    ctypedef struct ft_strided:
        const void *data
        ft_element type
        int swapped
        size_t rows
        size_t columns
        ptrdiff_t row_stride
        ptrdiff_t column_stride
    ft_element ft_element_of(const char *format, size_t itemsize, int *swapped)
    const char *ft_element_name(ft_element type)
    bint ft_is_float_rows(const ft_strided *x)
    void ft_to_float_rows(const ft_strided *x, float *out) nogil
    float ft_float_of_double(double value)
    float ft_float_of_int64(int64_t value)

cdef extern from "env.h":
    ctypedef struct ft_env:
        pass
    ft_env ft_env_enter() nogil
    void ft_env_leave(ft_env saved) nogil

cdef extern from "dispatch.h":
    uint32_t ft_isa_count()
    const char *ft_isa_name(uint32_t index)
    int ft_isa_force(const char *name)
    const ft_isa *ft_isa_current()
    const char *ft_isa_removed()

cdef extern from "pack.h":
    ctypedef struct ft_pack_spec:
        const int8_t *weights
        const uint8_t *group_scales
        uint32_t n
        uint32_t k
        uint32_t bits
        uint32_t group
        uint32_t amax
        uint32_t may_skip
    ctypedef enum ft_pack_fault:
        FT_PACK_OK
        FT_PACK_MEMORY
        FT_PACK_WEIGHT
        FT_PACK_SCALE
        FT_PACK_OVERFLOW
        FT_PACK_SHAPE
    ft_pack_fault ft_pack(
        const ft_isa *isa, const ft_pack_spec *spec, ft_packed *out, uint32_t *column
    ) nogil
    void ft_pack_free(ft_packed *packed)
    uint32_t ft_certified_depth(const int8_t *weights, uint32_t n, uint32_t k, uint32_t amax)

cdef extern from "gemm.h":
    int ft_matmul(const ft_packed *w, size_t m, const uint8_t *a, int32_t *c) nogil

cdef extern from "quantize.h":
    enum:
        FT_MOST_PARTS
    void ft_histogram(
        const float *x, size_t count, float low, float high, uint32_t bins, uint64_t *counts
    ) nogil
    void ft_quantize_rows(
        const ft_isa *isa, const float *x, size_t n, size_t k, const float *scale, int32_t limit,
        int8_t *q
    ) nogil
    void ft_dequantize_rows(
        const ft_isa *isa, const int8_t *q, size_t n, size_t k, const float *scale, float *x
    ) nogil
    void ft_join_rows(
        const ft_isa *isa, const int8_t *q, size_t n, size_t k, uint8_t *nibbles
    ) nogil
    void ft_split_rows(
        const ft_isa *isa, const uint8_t *nibbles, size_t n, size_t k, int8_t *q
    ) nogil

cdef extern from "periodic.h":
    ctypedef struct ft_scaler:
        uint32_t n
        uint32_t out_amax
        const float *shift
        const float *scale
        const float *fill
    void ft_periodic(
        const ft_scaler *s, size_t m, const float *frequencies, const float *x, void *y
    ) nogil

cdef extern from "prune.h":
    int ft_prune_select(const float *scores, size_t count, size_t drop, uint8_t *keep) nogil
    void ft_prune_neighbours(
        const float *weights, size_t n, size_t k, size_t stay, size_t of, uint8_t *keep
    ) nogil
    void ft_prune_scores(
        const float *weights, size_t n, size_t k, size_t bn, size_t bk, int l2, float *scores
    ) nogil

cdef extern from "coding.h":
    size_t ft_coding_encode(
        const uint32_t *values, uint32_t n, uint32_t k, uint32_t bits, uint8_t *out,
        size_t room
    ) nogil
    int ft_coding_decode(
        const uint8_t *data, size_t size, uint32_t n, uint32_t k, uint32_t bits, uint32_t *values
    ) nogil

cdef extern from "_fastcall.h":
    ctypedef struct PyArrayObject:
        pass
    enum: NPY_ARRAY_WRITEABLE
    int PyArray_NDIM(PyArrayObject *array)
    Py_ssize_t *PyArray_DIMS(PyArrayObject *array)
    Py_ssize_t *PyArray_STRIDES(PyArrayObject *array)
    void *PyArray_DATA(PyArrayObject *array)
    int PyArray_TYPE(PyArrayObject *array)
    bint PyArray_CHKFLAGS(PyArrayObject *array, int flags)
    bint PyArray_ISNOTSWAPPED(PyArrayObject *array)
    bint PyArray_ISWRITEABLE(PyArrayObject *array)
    bint PyArray_IS_C_CONTIGUOUS(PyArrayObject *array)
    bint PyArray_ISALIGNED(PyArrayObject *array)
    PyObject *farthing_name_out
    bint farthing_only_out(PyObject *names)
    bint farthing_is_ndarray(PyObject *o)
    bint farthing_is_array(PyObject *o)
    float *farthing_float_vector(PyObject *o, size_t length, int flags)
    ft_element farthing_element_of_dtype(int type)
    const char *farthing_utf8(object text, Py_ssize_t *size)
    bint farthing_get_buffer(object o, Py_buffer *buffer) except -1
    void *farthing_matrix(
        PyObject *o, ft_element type, size_t columns, int flags, size_t *rows
    )
    ctypedef struct PyMethodDef:
        pass
    int farthing_intern_names() except -1
    int farthing_install_method(
        object type, PyMethodDef *definition, const char *name, void *function, const char *doc
    ) except -1
