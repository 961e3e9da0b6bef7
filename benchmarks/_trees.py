"""The large model that a credit student stands for, by everything that runs it exactly."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _measure import Turn, over

from farthing.demo.teacher import FastRow


@contextmanager
def output_to_errors():
    """What C code prints meanwhile goes where it cannot spoil JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class Trees:
    """LightGBM's booster and what runs it: each call takes (rows, features) of float64."""

    def __init__(self, booster, name: str):
        self.booster, self.name = booster, name
        self._folder = tempfile.TemporaryDirectory()
        self._file = str(Path(self._folder.name) / "trees.txt")
        booster.save_model(self._file)

    def lightgbm(self) -> Callable:
        predict = self.booster.predict
        return lambda x: predict(x, num_threads=1)

    def lleaves(self) -> Callable:
        import lleaves

        model = lleaves.Model(model_file=self._file)
        model.compile()
        predict = model.predict
        return lambda x: predict(x, n_jobs=1)

    def tl2cgen(self) -> Callable:
        import tl2cgen
        import treelite

        model = treelite.frontend.load_lightgbm_model(self._file)
        library = str(Path(self._folder.name) / "trees.so")
        with output_to_errors():
            tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"parallel_comp": 8})
        predictor = tl2cgen.Predictor(library, nthread=1)
        return lambda x: predictor.predict(tl2cgen.DMatrix(x)).reshape(-1)

    def builders(self) -> dict[str, Callable[[], Callable]]:
        made = {"LightGBM predict": self.lightgbm, "lleaves": self.lleaves, "tl2cgen": self.tl2cgen}
        return {f"{name}, {self.name}": make for name, make in made.items()}

    def fastest_row(self, rows: np.ndarray) -> Turn:
        """LightGBM's fastest call of one row, checked on some."""
        fast = FastRow(self.booster, rows)
        for i in range(0, len(rows), 37):
            fast.call(i)
            assert abs(fast.out[0] - self.booster.predict(rows[i : i + 1])[0]) < 1e-12
        turn = over(range(len(rows)), fast.call)
        turn.keep = fast  # it frees on its end what the call uses
        return turn


def xgboost(X: np.ndarray, y: np.ndarray, trees: int) -> Callable:
    """A model of its own of so many trees of 31 leaves, the fastest way to ask it."""
    import xgboost

    parameters = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_leaves": 31,
        "max_depth": 0,
        "eta": 0.03,
        "nthread": 1,
    }
    booster = xgboost.train(parameters, xgboost.DMatrix(X, y), trees)
    booster.set_param({"nthread": 1})
    return booster.inplace_predict
