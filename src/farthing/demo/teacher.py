"""The large model: LightGBM, well trained, and its fastest exact call."""

from __future__ import annotations

import ctypes

import numpy as np

__all__ = ["FastRow", "train_teacher"]

MOST_TREES = 500
PARAMETERS = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.03,
    # A second thread gains little on data of this size, and on a busy machine the two spend
    # most of their time waiting for each other.
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


def train_teacher(X, y, fit, search, *, trees: int | None = None, seed: int = 0, **more):
    """A LightGBM booster: early stopping on the search part, then refitted on fit + search
    at its best iteration. With `trees` given, so many, without early stopping. more: further
    parameters of LightGBM."""
    import lightgbm

    parameters = {**PARAMETERS, "seed": seed, **more}
    if trees is None:
        training = lightgbm.Dataset(X[fit], y[fit])
        watched = lightgbm.Dataset(X[search], y[search], reference=training)
        stopped = lightgbm.train(
            parameters,
            training,
            MOST_TREES,
            valid_sets=[watched],
            callbacks=[lightgbm.early_stopping(50, verbose=False)],
        )
        trees = stopped.best_iteration
    both = np.concatenate([fit, search])
    return lightgbm.train(parameters, lightgbm.Dataset(X[both], y[both]), trees)


class FastRow:
    """LightGBM's fastest exact prediction of one row: its SingleRowFast C call.

    rows: float64 (n, features), kept; ``call(i)`` scores row i into ``out[0]``.
    """

    def __init__(self, booster, rows: np.ndarray):
        from lightgbm.basic import _LIB

        self.rows = np.ascontiguousarray(rows, dtype=np.float64)
        self.out = np.zeros(1)
        self._booster = booster
        self._library = _LIB
        self._config = ctypes.c_void_p()
        status = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
            booster._handle,
            ctypes.c_int(0),  # the response, a probability
            ctypes.c_int(0),
            ctypes.c_int(-1),  # all trees
            ctypes.c_int(1),  # float64
            ctypes.c_int32(self.rows.shape[1]),
            ctypes.c_char_p(b"num_threads=1"),
            ctypes.byref(self._config),
        )
        if status:
            raise RuntimeError("LightGBM refused its single-row configuration")
        function = _LIB.LGBM_BoosterPredictForMatSingleRowFast
        config, length = self._config, ctypes.c_int64()
        where, into = ctypes.byref(length), self.out.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        pointers = [
            ctypes.c_void_p(self.rows.ctypes.data + i * self.rows.strides[0])
            for i in range(len(self.rows))
        ]

        def call(i: int) -> None:
            function(config, pointers[i], where, into)

        self.call = call

    def __del__(self):
        if getattr(self, "_config", None):
            self._library.LGBM_FastConfigFree(self._config)
