"""Tables that arrive as Arrow record batches, so that the whole of one is never in memory."""

from __future__ import annotations

from typing import Any

__all__ = ["is_stream", "read_table", "record_batches", "stream_names"]

# Tables whose own columns are read, though they could be exported as streams.
_IN_MEMORY = ("iloc", "get_columns", "column_names")


def is_stream(X: Any) -> bool:
    """Whether `X` is read batch by batch: whatever exports ``__arrow_c_stream__`` (a DuckDB
    relation, an ibis or narwhals table), but pandas, polars and Arrow tables in memory; and
    pyarrow's readers, data sets and scanners."""
    kind = type(X)
    if any(hasattr(kind, name) for name in _IN_MEMORY):
        return False
    exports = hasattr(kind, "__arrow_c_stream__")
    return exports or (_is_arrow(kind) and (hasattr(kind, "scanner") or hasattr(kind, "to_reader")))


def _is_arrow(kind: type) -> bool:
    return any(base.__module__.partition(".")[0] == "pyarrow" for base in kind.__mro__)


def _pyarrow(X: Any):
    try:
        import pyarrow
    except ImportError:
        raise ImportError(
            f"reading a {type(X).__name__} needs pyarrow: pip install 'farthing[arrow]'"
        ) from None
    return pyarrow


def record_batches(X: Any):
    """A ``pyarrow.RecordBatchReader`` over the stream `X`; ImportError without pyarrow."""
    kind = type(X)
    if _is_arrow(kind):
        if hasattr(kind, "scanner"):
            X = X.scanner()
        if hasattr(type(X), "to_reader"):
            return X.to_reader()
        if hasattr(kind, "read_next_batch"):
            return X
    return _pyarrow(X).RecordBatchReader.from_stream(X)


def read_table(X: Any):
    """The stream `X` as a ``pyarrow.Table``."""
    return record_batches(X).read_all()


def stream_names(X: Any) -> list | None:
    """The column names of the stream `X` without reading its rows; None where it tells none."""
    for attribute in ("schema", "projected_schema"):
        names = getattr(getattr(X, attribute, None), "names", None)
        if names is not None and not callable(names):
            return list(names)
    for told in (X, getattr(X, "schema", None)):
        if hasattr(type(told), "__arrow_c_schema__"):
            return list(_pyarrow(X).schema(told).names)
    names = getattr(X, "columns", None)
    return None if names is None or callable(names) else list(names)
