# Looking at a caller's object: numpy's struct for an exact ndarray, else the buffer protocol.

cdef struct View:
    ft_strided array  # as rows; a vector is one row
    int ndim
    Py_ssize_t shape[2]
    bint readonly
    bint held  # `buffer` must be released
    Py_buffer buffer


cdef bint open_view(object o, View *view) except -1:
    """Fills `view`; False where `o` offers no buffer."""
    cdef PyArrayObject *array
    cdef Py_ssize_t *shape
    cdef Py_ssize_t *strides
    cdef Py_ssize_t dense[2]
    view.held = False
    if farthing_is_ndarray(<PyObject *>o):
        array = <PyArrayObject *><PyObject *>o
        view.ndim = PyArray_NDIM(array)
        shape, strides = PyArray_DIMS(array), PyArray_STRIDES(array)
        view.array.data = PyArray_DATA(array)
        view.array.type = farthing_element_of_dtype(PyArray_TYPE(array))
        view.array.swapped = not PyArray_ISNOTSWAPPED(array)
        view.readonly = not PyArray_ISWRITEABLE(array)
    elif farthing_get_buffer(o, &view.buffer):
        view.held = True
        view.ndim = view.buffer.ndim
        shape, strides = view.buffer.shape, view.buffer.strides
        if strides == NULL and view.ndim in (1, 2):  # of ctypes: C-contiguous
            dense[view.ndim - 1] = view.buffer.itemsize
            dense[0] = view.buffer.itemsize * (shape[1] if view.ndim == 2 else 1)
            strides = dense
        view.array.data = view.buffer.buf
        view.array.type = ft_element_of(
            view.buffer.format, view.buffer.itemsize, &view.array.swapped
        )
        if view.buffer.suboffsets != NULL:  # rows behind pointers
            view.array.type = FT_ELEMENT_OTHER
        view.readonly = view.buffer.readonly
    else:
        return False
    if view.ndim == 1:
        view.shape[0] = shape[0]
        view.array.rows, view.array.columns = 1, shape[0]
        view.array.row_stride, view.array.column_stride = 0, strides[0]
    elif view.ndim == 2:
        view.shape[0], view.shape[1] = shape[0], shape[1]
        view.array.rows, view.array.columns = shape[0], shape[1]
        view.array.row_stride, view.array.column_stride = strides[0], strides[1]
    return True


cdef inline void close_view(View *view) noexcept:
    if view.held:
        view.held = False
        PyBuffer_Release(&view.buffer)


cdef object given_shape(View *view):
    """The shape for an error message."""
    if view.ndim > 2:
        return f"{view.ndim} dimensions"
    return "shape " + str(tuple([view.shape[i] for i in range(view.ndim)]))


cdef str given_type(object o, View *view):
    """The element type for an error message."""
    if view.array.type != FT_ELEMENT_OTHER:
        return ft_element_name(view.array.type).decode()
    dtype = getattr(o, "dtype", None)
    if dtype is not None:
        return str(dtype)
    return f"format {view.buffer.format.decode('ascii', 'replace')!r}"


cdef const void *contiguous(object array, ft_element element, size_t *size) except? NULL:
    """The data of an ndarray that Farthing's own Python code made, and its element count."""
    cdef PyArrayObject *a = <PyArrayObject *><PyObject *>array
    cdef int i
    if not (
        farthing_is_ndarray(<PyObject *>array)
        and farthing_element_of_dtype(PyArray_TYPE(a)) == element
        and PyArray_ISNOTSWAPPED(a)
        and PyArray_IS_C_CONTIGUOUS(a)
        and PyArray_ISALIGNED(a)
    ):
        raise TypeError(f"expected a C-contiguous {ft_element_name(element).decode()} ndarray")
    size[0] = 1
    for i in range(PyArray_NDIM(a)):
        size[0] *= PyArray_DIMS(a)[i]
    return PyArray_DATA(a)


cdef bint overlap(const void *x, size_t n, const void *y, size_t m) noexcept:
    """Whether n bytes at x and m bytes at y share any."""
    return <uintptr_t>x < <uintptr_t>y + m and <uintptr_t>y < <uintptr_t>x + n


cdef void *allocate(size_t count, size_t size) except NULL:
    cdef void *memory = NULL
    if count <= (<size_t>-1) // size:
        memory = malloc(max(count * size, <size_t>1))
    if memory == NULL:
        raise MemoryError(f"no memory for {count} elements of {size} bytes")
    return memory


cdef object numpy_empty = None


cdef object empty(object shape, str dtype):
    """A new numpy array, and the one place that imports numpy."""
    global numpy_empty
    if numpy_empty is None:
        import numpy
        numpy_empty = numpy.empty
    return numpy_empty(shape, dtype)
