# x: any object as rows of float32.  out: the memory of any float32 buffer of the right shape.

cdef enum:
    STACK_FLOATS = 512  # rows of converted features that need no allocation
    GIL_ELEMENTS = 1 << 16  # conversions of fewer keep the GIL


cdef struct Source:
    View view
    const float *rows
    float *owned  # where the rows had to be converted and the stack was too small
    size_t count
    bint single


cdef object label(CoreScorer self, Py_ssize_t column):
    return column if self._names is None else f"{column} ({self._names[column]!r})"


cdef float number(CoreScorer self, object item, Py_ssize_t column) except? -1:
    """One feature from a Python object, rounded once; None means missing, a text its category."""
    if isinstance(item, float):
        return ft_float_of_double(item)
    if item is None:
        return NAN
    if isinstance(item, int):
        return whole_number(self, item, column)
    if isinstance(item, str) and takes_text(self.model, column):
        return code_of(&self.model.categories[column], item)
    try:
        return whole_number(self, operator.index(item), column)
    except TypeError:
        pass
    if not isinstance(item, (str, bytes, bytearray)) and (
        isinstance(item, numbers.Real) or not isinstance(item, numbers.Complex)
    ):
        try:
            return ft_float_of_double(float(item))
        except (TypeError, ValueError, OverflowError):
            pass
    raise TypeError(
        f"x must hold numbers, got {type(item).__name__} {reprlib.repr(item)} "
        f"for feature {label(self, column)}"
    )


cdef bint takes_text(const ft_model *model, Py_ssize_t column) noexcept:
    return model.categories != NULL and model.categories[column].text != NULL


cdef float code_of(const ft_categories *categories, object text) noexcept:
    """What stands for a text in a row: as ft_category says."""
    cdef Py_ssize_t size = 0
    cdef const char *utf8 = farthing_utf8(text, &size)
    return -1.0 if utf8 == NULL else ft_category_of(categories, utf8, size)


cdef float whole_number(CoreScorer self, object item, Py_ssize_t column) except? -1:
    """An int of any size, rounded once."""
    try:
        return ft_float_of_int64(item)
    except OverflowError:
        pass
    bits = item.bit_length()
    if bits > 1024:
        raise ValueError(
            f"x must hold numbers below 2**1024, got an int of {bits:,} bits "
            f"for feature {label(self, column)}"
        )
    # 53 bits, the last of them set where any bit is cut off, round as all bits would.
    shift = bits - 53
    kept = item >> shift
    if kept << shift != item:
        kept |= 1
    return ft_float_of_double(ldexp(kept, shift))


cdef int read_sequence(CoreScorer self, object x, float *row) except -1:
    cdef size_t i
    if <size_t>len(x) != self.features:
        raise ValueError(f"x must have {self.features} features a row, got {len(x)}")
    for i in range(self.features):
        row[i] = number(self, x[i], i)
    return 0


cdef int read_dict(CoreScorer self, dict x, float *row) except -1:
    cdef size_t i
    if self._names is None:
        raise ValueError(
            "x is a dict, but the model was trained on columns without names: "
            f"pass {self.features} numbers in order"
        )
    for i in range(self.features):
        name = self._names[i]
        try:
            item = x[name]
        except KeyError:
            raise ValueError(f"x has no value for feature {name!r}") from None
        row[i] = number(self, item, i)
    if <size_t>len(x) != self.features:
        for key in x:
            if key not in self._names:
                raise ValueError(f"x has {key!r}, which is no feature of the model")
    return 0


cdef bint is_plain(object x):
    """Whether x is read as it is; all else goes through `_as_rows`."""
    cdef int type_number
    cdef bint exact = farthing_is_ndarray(<PyObject *>x)
    if exact or farthing_is_array(<PyObject *>x):
        type_number = PyArray_TYPE(<PyArrayObject *><PyObject *>x)
        if farthing_element_of_dtype(type_number) == FT_ELEMENT_OTHER:
            return False
        return exact or not hasattr(x, "mask")
    return type(x) is dict or isinstance(x, (list, tuple)) or PyObject_CheckBuffer(x)


cdef int read_row(CoreScorer self, object x, float *row) except -1:
    """One row of a list of rows."""
    cdef View view
    if not is_plain(x):
        if not is_row(x):
            raise TypeError(f"the rows of x must be lists, dicts or arrays, got {type(x).__name__}")
        x = self._as_rows(x, "a row of x")
    if isinstance(x, dict):
        return read_dict(self, x, row)
    if isinstance(x, (list, tuple)):
        return read_sequence(self, x, row)
    if not open_view(x, &view):
        raise TypeError(f"the rows of x must be lists, dicts or arrays, got {type(x).__name__}")
    try:
        check_x(self, x, &view)
        if view.ndim != 1:
            raise ValueError(f"the rows of x must have one dimension, got {given_shape(&view)}")
        ft_to_float_rows(&view.array, row)
    finally:
        close_view(&view)
    return 0


cdef int check_x(CoreScorer self, object x, View *view) except -1:
    cdef size_t features = self.features
    if view.array.type == FT_ELEMENT_OTHER:
        raise TypeError(f"x must hold numbers, got {given_type(x, view)}")
    if not 1 <= view.ndim <= 2:
        raise ValueError(
            f"x must be a row ({features},) or a batch (rows, {features}), got {given_shape(view)}"
        )
    if view.array.columns != features:
        raise ValueError(
            f"x must have {features} features a row, got {view.array.columns} "
            f"({given_shape(view)})"
        )
    return 0


cdef float *room(CoreScorer self, Source *source, float *stack) except NULL:
    """Memory for source.count converted rows."""
    if source.count <= STACK_FLOATS // self.features:
        return stack
    source.owned = <float *>allocate(source.count, self.features * sizeof(float))
    return source.owned


cdef int read_python(CoreScorer self, object x, Source *source, float *stack) except -1:
    """A list or tuple of numbers or of rows, or a dict."""
    cdef size_t i
    cdef float *rows
    source.single = isinstance(x, dict) or not (len(x) and is_row(x[0]))
    source.count = 1 if source.single else len(x)
    source.rows = rows = room(self, source, stack)
    if source.single:
        return read_row(self, x, rows)
    for i in range(source.count):
        read_row(self, x[i], rows + i * self.features)
    return 0


cdef int read_buffer(CoreScorer self, object x, Source *source, float *stack) except -1:
    cdef float *rows
    cdef const ft_strided *array = &source.view.array
    if not open_view(x, &source.view):
        raise TypeError(refusal("x", x))
    check_x(self, x, &source.view)
    source.single = source.view.ndim == 1
    source.count = array.rows
    if ft_is_float_rows(array):
        source.rows = <const float *>array.data
        return 0
    source.rows = rows = room(self, source, stack)
    if source.count * self.features < GIL_ELEMENTS:
        ft_to_float_rows(array, rows)
    else:
        with nogil:
            ft_to_float_rows(array, rows)
    return 0


cdef object refusal(str argument, object x):
    return (
        f"{argument} must be an array or another buffer of numbers, a list, tuple or dict, or a "
        f"pandas, polars or pyarrow frame, got {type(x).__name__}"
    )


cdef bint is_row(object item):
    if isinstance(item, (float, int, str, bytes)):
        return False
    return hasattr(item, "__len__")


cdef tuple out_shape(CoreScorer self, Source *source):
    if self.outputs == 1:
        return (source.count,)
    if source.single:
        return (self.outputs,)
    return (source.count, self.outputs)


cdef float *open_out(CoreScorer self, object out, Source *source, View *view) except? NULL:
    """The memory of `out` once it is known to be what the scores need."""
    cdef bint vector = self.outputs == 1 or source.single
    cdef size_t first = self.outputs if self.outputs > 1 and source.single else source.count
    if not open_view(out, view):
        raise TypeError(
            f"out must be a float32 array of shape {out_shape(self, source)}, "
            f"got {type(out).__name__}"
        )
    if view.array.type != FT_ELEMENT_F32 or view.array.swapped:
        order = "byte-swapped " if view.array.swapped else ""
        raise TypeError(f"out must be native float32, got {order}{given_type(out, view)}")
    if view.ndim != (1 if vector else 2) or <size_t>view.shape[0] != first or (
        not vector and <size_t>view.shape[1] != self.outputs
    ):
        raise ValueError(
            f"out must have shape {out_shape(self, source)}, got {given_shape(view)}"
        )
    if not ft_is_float_rows(&view.array):
        raise ValueError("out must be C-contiguous and aligned")
    if view.readonly:
        raise ValueError("out must be writable, got a read-only array")
    return <float *>view.array.data
