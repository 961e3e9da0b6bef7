# A model opened, and what it tells of itself.

cdef enum:
    # Below this many bytes of weights times rows a call is over in about 10 us: not worth
    # the 30 ns of releasing the GIL.
    GIL_BYTES = 1 << 20


cdef class CoreScorer:
    """A model opened from the bytes of a .farthing file; immutable, safe in any thread."""

    cdef ft_model *model
    cdef size_t features, outputs
    cdef bint quick  # one row gives one float, soon enough to keep the GIL
    cdef readonly bytes _data
    cdef readonly tuple _names  # of the features, or None
    cdef readonly dict _info  # the document for bindings
    cdef object __weakref__

    def __cinit__(self, data):
        if not PyObject_CheckBuffer(data):
            raise TypeError(
                f"data must be the bytes of a .farthing file, got {type(data).__name__}"
            )
        self._data = bytes(data)
        check(ft_open_memory(<const char *>self._data, len(self._data), &self.model))
        self.features = ft_features(self.model)
        self.outputs = ft_outputs(self.model)
        self.quick = self.outputs == 1 and self.model.nbytes < GIL_BYTES
        self._names = feature_names(self.model)
        self._info = document(self.model)

    def __dealloc__(self):
        ft_close(self.model)

    def __reduce__(self):
        return type(self), (self._data,)

    def __call__(self, x, out=None, threads=1):
        """The same as ``predict``."""
        return predict_any(self, x, out, thread_count(threads))

    def _as_rows(self, x, argument="x"):
        """What is not read as it is, as a buffer of numbers, a list, tuple or dict."""
        raise TypeError(refusal(argument, x))

    @property
    def n_features(self) -> int:
        """The number of raw features a row has."""
        return self.features

    @property
    def n_outputs(self) -> int:
        """The number of scores a row gets: 1, or the classes of a multi-class model."""
        return self.outputs

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights and tables in memory."""
        return self.model.nbytes

    @property
    def _isa(self) -> str:
        return self.model.isa.name.decode()

    def _operations(self) -> list:
        """The operations as they were opened, a dict each; see docs/file-format.md."""
        return [operation(&self.model.ops[i]) for i in range(self.model.ops_count)]

    def _filled(self) -> list:
        """Columns where NaN stands for a fixed value instead of a learnt row."""
        cdef const ft_op *first = &self.model.ops[0]
        return [i for i in range(self.features) if first.fill[i] == first.fill[i]]

    def _categorical(self) -> list:
        """(column, categories, dimensions of the embedding or 0, whether missing is learnt) of
        each categorical feature."""
        cdef uint32_t j
        cdef const ft_encoder *e = &self.model.ops[0].encoder
        if e.categorical == NULL:
            return []
        return [
            (
                e.feature[j].column,
                e.categorical[j].count,
                e.categorical[j].dim,
                e.categorical[j].rows > e.categorical[j].count + 1,
            )
            for j in range(e.used) if e.categorical[j].rows
        ]

    def _kept(self, size_t column) -> list:
        """The categories of a categorical feature: texts or numbers."""
        cdef uint32_t i
        cdef const ft_categories *c
        if self.model.categories == NULL or column >= self.features:
            return []
        c = &self.model.categories[column]
        if c.text == NULL:
            return [c.values[i] for i in range(c.count)]
        return [c.text[c.offsets[i]:c.offsets[i + 1]].decode() for i in range(c.count)]


cdef dict operation(const ft_op *op):
    fields = {
        "name": op.name.decode(),
        "kind": op.kind,
        "bits": op.bits,
        "inputs": op.inputs,
        "outputs": op.outputs,
        "width": op.width,
        "nonzeros": op.nonzeros,
        "group_size": op.group_size,
        "activation": op.activation,
        "storage": op.storage,
        "amax_in": op.amax_in,
        "amax_out": op.amax_out,
        "source": op.source,
    }
    if op.kind == FT_OP_ENCODE_DENSE:
        fields["nbytes"] = op.encoded.bytes
        fields["rows"] = op.encoder.rows
    elif op.kind == FT_OP_DENSE and op.bits == 32:
        fields["nbytes"] = op.dense_f32.bytes
    elif op.kind == FT_OP_DENSE:
        fields["nbytes"] = op.dense.bytes
        fields["layout"] = layout_of(&op.dense)
        fields["depth"] = op.dense.depth_u7 if op.amax_in <= 127 else op.dense.depth_u8
    return fields


cdef tuple feature_names(const ft_model *model):
    cdef uint32_t i
    cdef const uint32_t *at = model.name_offsets
    if at == NULL:
        return None
    names = tuple([model.names[at[i]:at[i + 1]].decode() for i in range(model.features)])
    if <size_t>len(set(names)) != model.features:
        raise FarthingError("names.text: two features have the same name")
    return names


cdef dict document(const ft_model *model):
    try:
        info = json.loads(model.info[:model.info_size].decode(), parse_constant=refuse_constant)
    except ValueError as error:
        raise FarthingError(f"info: no valid JSON ({error})") from None
    except RecursionError:
        raise FarthingError("info: its JSON is nested too deeply") from None
    if not isinstance(info, dict):
        raise FarthingError("info: expected a JSON object")
    return info


def refuse_constant(name):
    raise ValueError(f"{name} is no number of JSON")
