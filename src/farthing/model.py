"""A model: an encoder, dense layers in order and the link of the output."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from farthing._validate import FarthingError
from farthing.batchnorm import BatchNorm
from farthing.edges import LEAST_WIDTH
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.layers import Dense
from farthing.periodic import PeriodicEncoder

__all__ = ["Model"]

# Rows that forward takes through the layers at a time: bounds memory, fills the caches.
_FORWARD_ROWS = 1024


@dataclass(eq=False)
class Model:
    """What an estimator holds in ``.model_``.

    encoder: a fitted ``PiecewiseLinearEncoder``, ``PeriodicEncoder`` or ``Standardizer``; layers:
    the ``Dense`` layers in the order of the computation; link: "identity", "sigmoid", "softmax"
    (one output a class) or "log" (the score is exp(z)), what turns the last output into the
    score; feature_names: or None; activation_bits: 7 or 8 for a quantized model, None for a
    float one.

    >>> encoder = PiecewiseLinearEncoder().fit([[0.0], [1.0], [2.0]])
    >>> model = Model.build(encoder, hidden=(4,), seed=0)
    >>> model.forward([[0.5], [1.5]]).shape
    (2, 1)
    """

    encoder: PiecewiseLinearEncoder | PeriodicEncoder | Standardizer
    layers: list[Dense]
    link: str = "sigmoid"
    feature_names: tuple[str, ...] | None = None
    activation_bits: int | None = None

    @classmethod
    def build(
        cls,
        encoder: PiecewiseLinearEncoder | PeriodicEncoder | Standardizer,
        hidden: Sequence[int] = (64, 32),
        *,
        activation: str = "relu",
        batch_norm: bool = False,
        residual: bool = False,
        n_outputs: int = 1,
        link: str = "sigmoid",
        output_bias: float | np.ndarray = 0.0,
        feature_names: tuple[str, ...] | None = None,
        seed: int = 0,
    ) -> Model:
        """An untrained model with hidden layers of the given sizes.

        activation: of the hidden layers (`farthing.layers.Dense`).  batch_norm: they are
        normalised until ``train`` has folded it into them.  residual: a hidden layer after the
        first adds its input to its output where the two are equally wide.

        Weights are normal with variance 2 / inputs before a rectifier (He et al., "Delving
        Deep into Rectifiers", 2015), 1 / inputs before another activation and in the last
        layer, a quarter of that on a piecewise-linear encoding and half of it on a periodic one.
        output_bias: where training starts.  Raises FarthingError where the encoder has no columns.
        """
        if encoder.width == 0:
            raise FarthingError(
                f"X must have a column that varies by {LEAST_WIDTH:.1e} or more, which float32 "
                "bins need, got smaller spreads, constants and NaN only; rescale X, or use "
                "encoder=None"
            )
        rng = np.random.Generator(np.random.PCG64(seed))
        sizes = [encoder.width, *hidden, n_outputs]
        layers = []
        for i, (k, n) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            weight = rng.standard_normal((n, k), dtype=np.float32)
            # Half of what a rectifier is given is lost, to it and to its smooth kin.
            rectified = not last and activation in ("relu", "gelu", "silu")
            variance = (2 if rectified else 1) / k
            if i == 0 and isinstance(encoder, PiecewiseLinearEncoder):
                # The columns of a feature rise together: their sum varies more than the
                # sum of independent inputs, for which the rule is made.
                variance /= 4
            if i == 0 and isinstance(encoder, PeriodicEncoder):
                # The mean square of the columns is 1/2, which would ask for twice the variance;
                # but those of a feature vary together, and fast ones are learnt from small weights.
                variance /= 2
            weight *= np.float32(np.sqrt(variance))
            bias = np.full(n, output_bias if last else 0, dtype=np.float32)
            layers.append(
                Dense(
                    f"dense{i}",
                    weight,
                    bias,
                    "linear" if last else activation,
                    residual=residual and not last and i > 0 and n == k,
                    norm=BatchNorm(n) if batch_norm and not last else None,
                )
            )
        return cls(encoder, layers, link, feature_names)

    @property
    def n_features(self) -> int:
        """Raw features of a row."""
        return self.encoder.n_features_

    @property
    def n_outputs(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].n_outputs

    @property
    def is_quantized(self) -> bool:
        """Whether the layers hold integer weights."""
        return self.activation_bits is not None

    @property
    def input_amax(self) -> int | None:
        """Largest quantized input value, 127 or 255; None for a float model."""
        return None if self.activation_bits is None else (1 << self.activation_bits) - 1

    def copy(self) -> Model:
        """A copy that shares no array with this model and has no training hooks."""
        return Model(
            deepcopy(self.encoder),
            [layer.copy() for layer in self.layers],
            self.link,
            self.feature_names,
            self.activation_bits,
        )

    def rescale_output(self, slope: float, intercept: float | np.ndarray) -> None:
        """Replaces the last output z by ``slope * z + intercept``; slope > 0.

        intercept: one number, or one an output (outputs,).  Both are folded into the last
        layer's weights and bias, or its multipliers where quantized.
        """
        if not (np.isfinite(slope) and np.all(np.isfinite(intercept)) and slope > 0):
            raise FarthingError(
                f"slope and intercept must be finite and slope above 0, got {slope} and {intercept}"
            )
        last = self.layers[-1]
        dtype = last.weight.dtype
        last.bias = (last.bias.astype(np.float64) * slope + intercept).astype(dtype)
        if last.quantized is None:
            last.weight = (last.weight.astype(np.float64) * slope).astype(dtype)
        else:
            scale = (last.quantized.scale.astype(np.float64) * slope).astype(np.float32)
            last.quantized = replace(last.quantized, scale=scale)
            last.weight = last.quantized.dequantize()

    def forward(self, X) -> np.ndarray:
        """Output of the last layer before the link, (rows, outputs), of raw rows ``X``.

        Computed in numpy, with the layers' views where set; memory beyond the result is
        bounded whatever the number of rows.  Of a quantized model the input is rounded, but
        not the activations unless views do it: its answer is the C core's.
        """
        X = np.asarray(X)
        z = np.empty((len(X), self.n_outputs), dtype=self.layers[-1].weight.dtype)
        for start in range(0, max(len(X), 1), _FORWARD_ROWS):
            rows = slice(start, start + _FORWARD_ROWS)
            z[rows] = self.forward_positions(self.encoder.positions(X[rows], self.input_amax))
        return z

    def forward_positions(
        self, positions: np.ndarray, buffer: np.ndarray | None = None
    ) -> np.ndarray:
        """The same from a minibatch of the encoder's positions, expanded into ``buffer``."""
        x = self.encoder.expand(positions, out=buffer)
        for layer in self.layers:
            x, _ = layer.forward(x)
        return x

    def negate_output(self) -> None:
        """Replaces the last output z by -z: the probability of the other class."""
        last = self.layers[-1]
        last.weight, last.bias = -last.weight, -last.bias
        last.sign = None if last.sign is None else -last.sign
        if last.quantized is not None:
            last.quantized = replace(last.quantized, values=-last.quantized.values)

    def summary(self) -> str:
        """A table of the layers: shape, activation, weights, non-zero ones, bits, pattern.

        Shapes are outputs x inputs; "bounded" marks a layer some of whose units have a largest
        value, "+ x" a residual one; weights are counted without
        biases.
        """
        rows = [("layer", "shape", "activation", "weights", "non-zero", "bits", "pattern")]
        total = nonzero = 0
        for layer in self.layers:
            count = int(np.count_nonzero(layer.weight))
            total, nonzero = total + layer.weight.size, nonzero + count
            rows.append(
                (
                    layer.name,
                    f"{layer.n_outputs} x {layer.n_inputs}",
                    layer.activation
                    + (", bounded" if layer.bound is not None else "")
                    + (" + x" if layer.residual else ""),
                    f"{layer.weight.size:,}",
                    f"{count:,}",
                    str(32 if layer.quantized is None else layer.quantized.bits),
                    "dense" if layer.mask is None else "unstructured",
                )
            )
        rows.append(("total", "", "", f"{total:,}", f"{nonzero:,}", "", ""))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        numeric = (False, False, False, True, True, True, False)
        lines = [f"{self.n_features} features, {self.encoder.width} inputs, {self.link} link"]
        for row in rows:
            cells = (
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            )
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)
