"""Serving: a model loaded from a .farthing file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from farthing import _core
from farthing._validate import FarthingError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Scorer", "load"]

_CHECKSUM = 8 + len('{"__metadata__":{"checksum":"')  # offset of its digits in the file
_ACTIVATIONS = {0: "linear", 1: "relu", 5: "tanh", 6: "gelu", 7: "silu", 8: "sigmoid"}
_LINKS = {0: "identity", 2: "sigmoid", 3: "softmax", 4: "log"}
_KINDS = {1: "standardize", 2: "quantize", 3: "dense", 4: "encode_dense", 5: "link"}
_KINDS |= {6: "table", 7: "activate", 8: "add", 9: "periodic", 10: "bound"}
_KIND_BEHIND = {
    "identity": "regression",
    "log": "regression",
    "sigmoid": "binary",
    "softmax": "multiclass",
}


class Scorer(_core.CoreScorer):
    """A loaded model: raw features in, scores out.

    Made by `farthing.load`, or from the bytes of a .farthing file.  Immutable; may be used
    from any number of threads, pickled, and kept across a fork; holds no reference to a file.

    ``scorer.predict(x, out=None, threads=1)``, or ``scorer(x)``, gives the score, not the
    label; `decide` gives the label.

    >>> import array, tempfile, farthing
    >>> line = farthing.Regressor(hidden=(), encoder=None, solver="exact")
    >>> line = line.fit([[1.0], [2.0], [3.0]], [2.0, 4.0, 6.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     line.save(f"{folder}/line.farthing")
    ...     scorer = farthing.load(f"{folder}/line.farthing")
    >>> round(scorer.predict(array.array("f", [5.0])), 3)
    10.0
    >>> scorer.predict([[5.0], [6.0]]).shape
    (2,)
    """

    __slots__ = ()

    def __init__(self, data: bytes) -> None:
        _check_info(self._info, self.n_outputs, self._link)

    @classmethod
    def from_bytes(cls, data: bytes) -> Scorer:
        """The model that the bytes of a .farthing file hold; FarthingError for other bytes."""
        return cls(data)

    def _as_rows(self, x: Any, argument: str = "x") -> Any:
        if isinstance(x, Mapping):
            return dict(x)
        for method in ("collect", "toarray"):  # of a lazy frame, of a sparse matrix
            if callable(getattr(x, method, None)):
                what = f"{type(x).__name__}, which must be read first: use x.{method}()"
                raise TypeError(f"{argument} must be an array or a frame in memory, got {what}")
        from farthing import tables

        names = tables.column_names(x)
        if names is None:
            labels = self._labels(x)
            return self._plain(x, argument) if labels is None else dict(zip(labels, x, strict=True))
        if self._names is not None and names != self._names:
            missing = [name for name in self._names if name not in names]
            if missing:
                raise ValueError(f"{argument} has no column {missing[0]!r}")
            unknown = [name for name in names if name not in self._names]
            if unknown:
                raise ValueError(
                    f"{argument} has a column {unknown[0]!r}, which is no feature of the model"
                )
        matrix, names = tables.as_matrix(x, argument=argument, categories=self.categories)
        if self._names is None or names == self._names:
            return matrix
        return matrix[:, [names.index(name) for name in self._names]]

    def _labels(self, x: Any) -> list[str] | None:
        """Feature names that a pandas Series, such as one row of a frame, gives its values."""
        index = getattr(x, "index", None)
        if self._names is None or getattr(index, "dtype", None) is None:
            return None
        labels = index.tolist()
        return labels if all(isinstance(label, str) for label in labels) else None

    def _plain(self, x: Any, argument: str) -> Any:
        """`x` as an array of numbers, or as lists where its cells are Python objects."""
        import numpy as np

        from farthing.columns import Cells, as_float32

        try:
            array = np.asanyarray(x)
        except (TypeError, ValueError) as error:  # such as rows of different lengths
            raise type(error)(f"{argument} must hold rows of numbers: {error}") from None
        kind = array.dtype.kind
        if array.ndim == 0 and kind not in "biufc":
            return super()._as_rows(x, argument)
        missing = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
        if (kind == "O" or (kind in "UT" and self._categorical())) and array.size:
            return (array if missing is None else np.where(missing, None, array.data)).tolist()
        if kind in "biufO" and (missing is not None or array.dtype.char in "gO"):
            return as_float32(Cells(np.asarray(array), missing))
        return array

    @property
    def _link(self) -> str:
        return _LINKS[self._operations()[-1]["activation"]]

    @property
    def _target(self) -> dict[str, Any]:
        return self._info["critical"]["target"]

    def _optional(self, section: str) -> Any:
        return _copy(self._info.get("optional", {}).get(section))

    # ---- classes ----------------------------------------------------------------------------

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities as scikit-learn shapes them: float32 (rows, classes), by `classes`.

        x: as for `predict`; one row gives one row.  ValueError for a regression.
        """
        import numpy as np

        kind = self._target["kind"]
        if kind == "regression":
            raise ValueError("predict_proba needs a classifier; this model is a regression")
        score = np.asarray(self.predict(x), np.float32)
        if kind == "multiclass":
            return np.atleast_2d(score)
        score = np.atleast_1d(score)
        columns = [1 - score, score]
        if self.classes.index(self.positive) == 0:
            columns.reverse()
        return np.stack(columns, axis=1)

    def decide(self, x: Any) -> Any:
        """Decisions: labels for a classifier, the values of `predict` for a regression.

        Two classes: `positive` where the score is at or above the decision threshold stored in
        the file, else the other class.  More classes: the one of the largest probability times
        its decision weight, which is 1 unless the file stores others; the first one of equals.
        One row gives one label, a batch an array (rows,).  The labels equal those of the
        estimator's `predict`; their dtype may differ: the file keeps numbers, texts and booleans,
        so that labels of uint8 come back as int64.
        """
        score = self.predict(x)
        kind, classes = self._target["kind"], self._target.get("classes")
        if kind == "regression":
            return score
        if kind == "binary":
            positive = classes.index(self.positive)
            threshold = self._target.get("decision_threshold", 0.5)
            if isinstance(score, float):
                return classes[positive if score >= threshold else 1 - positive]
        import numpy as np

        if kind == "binary":
            chosen = np.where(score.astype(np.float64) >= threshold, positive, 1 - positive)
        else:
            weights = self._target.get("decision_weights", 1.0)
            chosen = np.argmax(score.astype(np.float64) * weights, axis=-1)
            if score.ndim == 1:
                return classes[int(chosen)]
        return np.array(classes)[chosen]

    @property
    def classes(self) -> list[Any] | None:
        """The labels in the order of `predict_proba`; None for a regression."""
        return _copy(self._target.get("classes"))

    @property
    def positive(self) -> Any:
        """The label whose probability `predict` gives; None unless there are two classes."""
        return self._target.get("positive")

    # ---- what it is -------------------------------------------------------------------------

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the raw features in order; None where the model was trained without."""
        return self._names

    @property
    def categories(self) -> dict[str | int, list[str] | list[float]]:
        """The texts or numbers that every categorical feature knows, by its name (by its index
        where the model was trained on columns without names).  Empty without such features."""
        names = self._names or range(self.n_features)
        return {names[i]: self._kept(i) for i, *_ in self._categorical()}

    @property
    def metadata(self) -> Any:
        """A copy of what was given to ``save(metadata=...)``, or None."""
        return self._optional("user")

    @property
    def model_id(self) -> str:
        """16 hexadecimal digits that identify the file: its checksum."""
        return self._data[_CHECKSUM : _CHECKSUM + 16].decode()

    def certify_monotone(self) -> dict[str | int, bool]:
        """Whether each monotone constraint that the file declares is proven by its weights.

        {feature name or index: bool}, in the direction of `predict`.  ValueError where the
        file declares none.
        """
        from farthing import certificate

        return certificate.certify_monotone(self)

    def describe(self) -> dict[str, Any]:
        """What the model is made of, as a JSON-able dict.

        ``layers``: for each, its shape (n, k), bits, the share of zero weights, the pattern in
        which the file stores them, activation (``table``: any, between 8-bit integers), whether
        some of its units are ``bounded``, the layer whose output it ``adds``, if any, and packed
        bytes; ``depth`` of an integer layer is how many pair products add up in 16 bits, and its
        ``layout`` here "dense", or the blocks (such as "32x4": outputs by inputs) or "lists" of
        weights whose zeros are left out, which is done where it is faster; the ``table_bytes`` of
        a first layer fused with
        the encoding stay the same whatever its zeros.  ``median_for_missing`` lists the features
        whose NaN takes a fixed value because training had no NaN there.
        """
        names = self._names or tuple(range(self.n_features))
        operations = self._operations()
        categorical = [
            {"feature": names[i], "categories": kept, "embedding_dim": dim or None, "missing": own}
            for i, kept, dim, own in self._categorical()
        ]
        filled = set(self._filled()) - {i for i, *_ in self._categorical()}
        described = {
            "model_id": self.model_id,
            "target": _copy(self._target),
            "n_features": self.n_features,
            "n_outputs": self.n_outputs,
            "input": _KINDS[operations[0]["kind"]],
            "layers": _layers(operations, categorical),
            "link": self._link,
            "median_for_missing": [names[i] for i in sorted(filled)],
            "isa": self._isa,
            "file_bytes": len(self._data),
            "nbytes": self.nbytes,
        }
        # What the file says of itself adds to these, and replaces none.
        return {**described, **(self._optional("model") or {}), **described}

    def __repr__(self) -> str:
        operations = self._operations()
        widths = [operations[0]["inputs"]]
        widths += [o["outputs"] for o in operations if _KINDS[o["kind"]].endswith("dense")]
        return (
            f"<Scorer {self._target['kind']} {'-'.join(map(str, widths))}, "
            f"{len(self._data):,} bytes, id {self.model_id}>"
        )


def _layers(
    operations: list[dict[str, Any]], categorical: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    layers = []
    for operation in operations:
        kind = _KINDS[operation["kind"]]
        if kind.endswith("dense"):
            layers.append(_layer(operation, categorical))
        elif kind == "activate":
            layers[-1]["activation"] = _ACTIVATIONS[operation["activation"]]
        elif kind == "table":
            layers[-1]["activation"] = "table"
        elif kind == "bound":
            layers[-1]["bounded"] = True
        elif kind == "add":
            layers[-1]["adds"] = operations[operation["source"]]["name"]
    return layers


def _layer(operation: dict[str, Any], categorical: list[dict[str, Any]]) -> dict[str, Any]:
    n, k = operation["outputs"], operation["width"]
    sparsity = 1 - operation["nonzeros"] / (n * k) if n * k else 0.0
    layer = {
        "name": operation["name"],
        "kind": _KINDS[operation["kind"]],
        "shape": [n, k],
        "bits": operation["bits"],
        "sparsity": sparsity,
        "pattern": ("dense", "unstructured")[operation["storage"]],
        "activation": _ACTIVATIONS[operation["activation"]],
    }
    if "depth" in operation:
        layer["depth"] = operation["depth"]
        layer["layout"] = operation["layout"]
        layer["group_size"] = operation["group_size"] or None
    if _KINDS[operation["kind"]] == "encode_dense":
        layer["table_rows"] = operation["rows"]
        layer["table_bytes"] = operation["nbytes"]
        layer["categories"] = categorical
    else:
        layer["packed_bytes"] = operation["nbytes"]
    return layer


def _copy(value: Any) -> Any:
    """A copy of a JSON document, to any depth that JSON itself was read to."""
    return json.loads(json.dumps(value))


def _check_info(info: dict[str, Any], outputs: int, link: str) -> None:
    """FarthingError unless `info` describes a model of so many outputs behind this link."""

    def require(holds: bool, name: str, what: str) -> None:
        if not holds:
            raise FarthingError(f"info: {name} must be {what}")

    critical = info.get("critical")
    target = critical.get("target") if isinstance(critical, dict) else None
    if not isinstance(target, dict):
        raise FarthingError("info: no section critical.target")
    unknown = set(critical) - {"target"}
    if unknown:
        raise FarthingError(
            f"info: critical section {min(unknown)!r} is not known to this version; "
            "upgrade farthing"
        )
    optional = info.get("optional", {})
    require(isinstance(optional, dict), "optional", "an object")
    require(isinstance(optional.get("model", {}), dict), "optional.model", "an object")

    kind = _KIND_BEHIND[link]
    require(target.get("kind") == kind, "target.kind", f"{kind!r} behind the link {link}")
    threshold = target.get("decision_threshold", 0.5)
    require(_is_finite(threshold), "target.decision_threshold", "a finite number")
    weighted = kind == "multiclass" or "decision_weights" not in target
    require(weighted, "target.decision_weights", "absent unless there are several classes")
    if kind == "regression":
        return
    count = 2 if kind == "binary" else outputs
    fits = outputs == 1 if kind == "binary" else outputs > 1
    require(fits, "target.kind", f"one for {outputs} outputs, not {kind!r}")
    classes = target.get("classes")
    labels = isinstance(classes, list) and all(isinstance(c, (str, int, float)) for c in classes)
    sound = labels and len(set(classes)) == len(classes) == count
    require(sound, "target.classes", f"{count} distinct texts or numbers")
    if kind == "binary":
        require(target.get("positive") in classes, "target.positive", "one of the classes")
    weights = target.get("decision_weights", [1.0] * count)
    sound = isinstance(weights, list) and len(weights) == count
    sound = sound and all(_is_finite(weight) and weight > 0 for weight in weights)
    require(sound, "target.decision_weights", f"{count} finite numbers above 0")


def _is_finite(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max


def load(path: str | bytes | os.PathLike) -> Scorer:
    """The model in the .farthing file at `path`.

    OSError where the file cannot be read; FarthingError, with the reason, where it is no valid
    .farthing file or one of a newer version.

    >>> import farthing
    >>> farthing.load("no/such.farthing")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no/such.farthing'
    """
    path = os.fsdecode(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        return Scorer(data)
    except FarthingError as error:
        raise FarthingError(f"{path}: {error}") from None
