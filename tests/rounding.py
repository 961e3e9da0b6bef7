"""A layer and its inputs to round, for tests of quantization."""

import numpy as np

from farthing.layers import Dense
from farthing.quantization.formats import WeightFormat

INT4 = WeightFormat(4, 7, None)


def problem(seed=0, n=6, k=24, rows=400):
    """A layer and inputs of it that vary together."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5)) @ rng.normal(size=(5, k)) + 0.3 * rng.normal(size=(rows, k)) + 1
    layer = Dense(
        "dense0",
        rng.normal(size=(n, k)).astype(np.float32),
        rng.normal(size=n).astype(np.float32),
    )
    return layer, x, np.full(rows, 1 / rows)
