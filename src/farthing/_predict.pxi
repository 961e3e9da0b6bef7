# The call: rows to scores.  `predict` is a C function without generic argument parsing; what
# its first lines do not recognise goes through `predict_any`.

cdef enum:
    ROWS_A_THREAD = 256  # fewer do not pay for a thread's start
    MOST_THREADS = 4096

cdef const char *PREDICT_DOC = b"""predict($self, x, out=None, threads=1)
--

The score (not the label) of one row or of every row of a batch, float32.

x: one row (n_features,) or a batch (rows, n_features) of raw features: a numpy array or any
other buffer of floats, integers or bools in any layout and byte order; a list or tuple of
numbers, or of rows; a dict or other mapping by feature name, or a list of them; a pandas,
polars or pyarrow frame, by column name.  NaN, None and masked cells mean missing.  Values are
rounded once, to float32.  Of a feature whose `categories` are texts a text is looked up among
them, also in an array of objects; a number is the place of one in that list, anything else, such
as -1, an unknown one.

Returns the probability of `positive`, the probabilities of all classes, or the value: a Python
float for one row, float32 (rows,) for a batch; of a multi-class model float32 (classes,) or
(rows, classes).  With `out`, a writable C-contiguous float32 buffer of that shape ((1,) for
one row), that is filled and returned; on an error nothing is written to it.

threads: how many threads, 1 to 4096, may share the rows of a large batch; the scores are the
same bits.

ValueError for a wrong shape, a missing or unknown feature or a value the model refuses (an
infinity, where it has no encoder); TypeError for anything that is not numbers.
"""


cdef class Part:
    """Rows of a batch that one thread scores."""

    cdef const ft_model *model
    cdef const float *x
    cdef size_t rows
    cdef float *scores
    cdef ft_status status
    cdef object running  # a lock, held until the scores are there

    def __call__(self):
        with nogil:
            self.status = ft_predict(self.model, self.x, self.rows, self.scores)
        self.running.release()


cdef int score_in_threads(
    CoreScorer self, const float *x, size_t rows, float *scores, size_t threads
) except -1:
    # Not threading.Thread, whose start waits for the thread to run: 50 us a call.
    from _thread import allocate_lock, start_new_thread

    cdef size_t begin, end, i
    cdef Part part
    parts = []
    for i in range(threads):
        part = Part.__new__(Part)
        begin, end = rows * i // threads, rows * (i + 1) // threads
        part.model, part.rows = self.model, end - begin
        part.x, part.scores = x + begin * self.features, scores + begin * self.outputs
        part.running = allocate_lock()
        part.running.acquire()
        parts.append(part)
    started = []
    failure = None
    try:
        for part in parts[1:]:
            start_new_thread(part, ())
            started.append(part)
        (<Part>parts[0])()
    except BaseException as error:
        failure = error
    for part in started:
        while part.running.locked():  # it writes to `scores`: not even an interrupt may leave here
            try:
                part.running.acquire()
                part.running.release()
            except BaseException as error:
                failure = error
    if failure is not None:
        raise failure
    for part in parts:
        if part.status != FT_OK:  # again as a whole, for a reason that counts rows from the first
            return score_rows(self, x, rows, scores, 1)
    return 0


cdef int score_rows(
    CoreScorer self, const float *x, size_t rows, float *scores, size_t threads
) except -1:
    cdef ft_status status
    threads = min(threads, rows // ROWS_A_THREAD)
    if threads > 1:
        return score_in_threads(self, x, rows, scores, threads)
    if rows * self.model.nbytes < GIL_BYTES:
        status = ft_predict(self.model, x, rows, scores)
    else:
        with nogil:
            status = ft_predict(self.model, x, rows, scores)
    return check(status)


cdef int score_into(CoreScorer self, Source *source, float *scores, size_t threads) except -1:
    """Writes all scores or, on failure, none."""
    cdef size_t size = source.count * self.outputs
    cdef float *safe
    if threads == 1 and not overlap(
        source.rows, source.count * self.features * sizeof(float), scores, size * sizeof(float)
    ):
        return score_rows(self, source.rows, source.count, scores, 1)
    safe = <float *>allocate(size, sizeof(float))
    try:
        score_rows(self, source.rows, source.count, safe, threads)
        memcpy(scores, safe, size * sizeof(float))
    finally:
        free(safe)
    return 0


cdef object predict_any(CoreScorer self, object x, object out, size_t threads):
    cdef float stack[STACK_FLOATS]
    cdef Source source
    cdef View target
    cdef float score
    cdef float *scores
    cdef ft_env env
    source.owned = NULL
    source.view.held = target.held = False
    try:
        env = ft_env_enter()
        try:
            if not is_plain(x):
                x = self._as_rows(x)
            if isinstance(x, (list, tuple, dict)):
                read_python(self, x, &source, stack)
            else:
                read_buffer(self, x, &source, stack)
        finally:
            ft_env_leave(env)
        if out is None:
            if source.single and self.outputs == 1:
                score_rows(self, source.rows, 1, &score, 1)
                return score
            out = empty(out_shape(self, &source), "float32")
        scores = open_out(self, out, &source, &target)
        score_into(self, &source, scores, threads)
        return out
    finally:
        close_view(&target)
        close_view(&source.view)
        free(source.owned)


cdef size_t thread_count(object threads) except 0:
    check_integer(1, MOST_THREADS, threads=threads)
    return threads


cdef object predict_general(
    CoreScorer self, PyObject **args, Py_ssize_t count, PyObject *names
):
    """Binds the arguments (x, out=None, threads=1)."""
    cdef PyObject *given[3]
    cdef Py_ssize_t i, slot
    given[0] = given[1] = given[2] = NULL
    if count > 3:
        raise TypeError(f"predict() takes at most 3 arguments, got {count}")
    for i in range(count):
        given[i] = args[i]
    if names != NULL:
        for i in range(len(<tuple>names)):
            name = (<tuple>names)[i]
            if <PyObject *>name == farthing_name_out or name == "out":
                slot = 1
            elif name == "x":
                slot = 0
            elif name == "threads":
                slot = 2
            else:
                raise TypeError(f"predict() got an unexpected keyword argument {name!r}")
            if given[slot] != NULL:
                raise TypeError(f"predict() got multiple values for argument {name!r}")
            given[slot] = args[count + i]
    if given[0] == NULL:
        raise TypeError("predict() missing 1 required argument: 'x'")
    return predict_any(
        self,
        <object>given[0],
        None if given[1] == NULL else <object>given[1],
        1 if given[2] == NULL else thread_count(<object>given[2]),
    )


cdef object predict(CoreScorer self, PyObject **args, Py_ssize_t count, PyObject *names):
    """One float32 ndarray row, with or without an ndarray `out`: nothing but the call."""
    cdef float score
    cdef float *scores
    cdef const float *row
    if self.quick and count > 0:
        row = farthing_float_vector(args[0], self.features, 0)
        if row != NULL:
            if count == 1 and names == NULL:
                check(ft_predict(self.model, row, 1, &score))
                return score
            if (count == 2 and names == NULL) or (count == 1 and farthing_only_out(names)):
                scores = farthing_float_vector(args[1], 1, NPY_ARRAY_WRITEABLE)
                if scores != NULL:
                    check(ft_predict(self.model, row, 1, scores))
                    return <object>args[1]
    return predict_general(self, args, count, names)


cdef PyMethodDef predict_definition

farthing_install_method(
    CoreScorer, &predict_definition, b"predict", <void *>predict, PREDICT_DOC
)


def bench_predict(CoreScorer scorer not None, rows, size_t repeats) -> float:
    """Nanoseconds a row of a C loop over `ft_predict`, one row a call, rows in rotation.

    rows: float32 (n, features), C-contiguous.  What remains of a measured call of `predict`
    is the price of calling from Python.
    """
    cdef size_t size, r, i, n
    cdef const float *x = <const float *>contiguous(rows, FT_ELEMENT_F32, &size)
    cdef float score
    cdef ft_status status = FT_OK
    n = size // scorer.features
    if repeats == 0 or n == 0 or size % scorer.features:
        raise ValueError(f"rows must have {scorer.features} columns; rows and repeats at least 1")
    start = time.perf_counter_ns()
    with nogil:
        for r in range(repeats):
            for i in range(n):
                status = ft_predict(scorer.model, x + i * scorer.features, 1, &score)
                if status != FT_OK:
                    break
    elapsed = time.perf_counter_ns() - start
    check(status)
    return elapsed / (repeats * n)
