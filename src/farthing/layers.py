"""Dense layers: float parameters, masks and quantization state, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from farthing._validate import FarthingError

__all__ = ["Dense", "QuantizedWeight"]

WeightView = Callable[[np.ndarray, bool], np.ndarray]
Backward = Callable[..., tuple[np.ndarray | None, dict[str, np.ndarray]]]


class OutputView(Protocol):
    """Rounds and clamps activations; ``limit`` is the largest value it lets through."""

    limit: float

    def __call__(self, activation: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class QuantizedWeight:
    """Integer weights of one layer: ``values * scale[:, None]`` approximates the float ones.

    values: int8 (n, k), within ``weight_max``; scale: float32 (n,), one multiplier an
    output; group_scales: uint8 (n, ceil(k / group_size)) in 1..63, or None where every
    group counts once.
    """

    bits: int
    weight_max: int
    values: np.ndarray
    scale: np.ndarray
    group_size: int | None = None
    group_scales: np.ndarray | None = None

    def dequantize(self) -> np.ndarray:
        """The float32 weights (n, k) that the integers stand for."""
        weight = self.values.astype(np.float32) * self.scale[:, None]
        if self.group_scales is not None:
            k = weight.shape[1]
            weight *= np.repeat(self.group_scales, self.group_size, axis=1)[:, :k]
        return weight

    def copy(self) -> QuantizedWeight:
        """A copy that shares no array with this one."""
        groups = self.group_scales
        return replace(
            self,
            values=self.values.copy(),
            scale=self.scale.copy(),
            group_scales=None if groups is None else groups.copy(),
        )


@dataclass(eq=False)
class Dense:
    """``activation(x @ weight.T + bias)``.

    weight: float32 (n, k); bias: float32 (n,); activation: "relu" or "linear"; mask: bool
    (n, k), False = pruned, or None; sign: int8 (n, k) or None: a weight must stay >= 0 where it
    is +1 and <= 0 where it is -1 (a monotone model).  ``quantized`` holds the integer weights after
    quantization (the float ones then equal ``quantized.dequantize()``), ``output_scale``
    the real value of one step of the quantized output (None for the last layer).
    ``weight_view`` and ``output_view`` are the hooks of quantization-aware training: what
    forward uses instead of the float weight (the view is told whether it is training) and
    activation; gradients pass straight through, except where the activation exceeded the
    ``limit`` attribute of ``output_view`` (its clamp), where they are zero.

    >>> layer = Dense("dense0", np.array([[1.0, -2.0]]), np.array([0.5]))
    >>> layer.forward(np.array([[3.0, 1.0], [0.0, 1.0]]))[0]
    array([[1.5],
           [0. ]])
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    activation: str = "relu"
    mask: np.ndarray | None = None
    sign: np.ndarray | None = None
    quantized: QuantizedWeight | None = None
    output_scale: float | None = None
    weight_view: WeightView | None = field(default=None, repr=False, compare=False)
    output_view: OutputView | None = field(default=None, repr=False, compare=False)

    @property
    def n_outputs(self) -> int:
        return self.weight.shape[0]

    @property
    def n_inputs(self) -> int:
        return self.weight.shape[1]

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Backward | None]:
        """Output (rows, n) of ``x`` (rows, k), and its backward pass where ``training``.

        ``backward(dy, need_input=True)`` takes the gradient of the loss by the output and
        gives ``(dx, {"weight": (n, k), "bias": (n,)})``, ``dx`` None unless ``need_input``.
        The gradient of a masked weight is exactly 0.  It reads the weights and ``x`` as they
        are when it is called: call it before either changes.
        """
        weight = self.weight
        if self.weight_view is not None:
            weight = self.weight_view(weight, training)
        y = x @ weight.T
        y += self.bias
        passes = None
        if self.activation == "relu":
            np.maximum(y, 0, out=y)
            if training:
                passes = y > 0
        if self.output_view is not None:
            if training:
                within = y <= self.output_view.limit
                passes = within if passes is None else np.logical_and(passes, within, out=passes)
            y = self.output_view(y)
        if not training:
            return y, None

        def backward(dy, need_input=True):
            dz = dy if passes is None else dy * passes
            gradient = dz.T @ x
            if self.mask is not None:
                gradient *= self.mask
            dx = dz @ weight if need_input else None
            return dx, {"weight": gradient, "bias": dz.sum(axis=0)}

        return y, backward

    def set_mask(self, mask: np.ndarray) -> None:
        """Prunes where ``mask`` (n, k) is False: those weights become 0, integers too."""
        self.mask = mask
        self.weight *= mask
        if self.quantized is not None:
            values = self.quantized.values * mask
            self.quantized = replace(self.quantized, values=values)

    def project(self) -> None:
        """Sets to 0 the float weights that are masked or have the wrong sign."""
        if self.mask is not None:
            self.weight *= self.mask
        if self.sign is not None:
            self.weight[self.weight * self.sign < 0] = 0

    def keep(self, outputs: np.ndarray | None = None, inputs: np.ndarray | None = None) -> None:
        """Shrinks to some outputs and inputs, given as bool arrays (n,) and (k,) or None.

        Raises FarthingError where inputs go from a layer with group scales: the groups
        along k would shift.
        """
        rows = np.ones(self.n_outputs, bool) if outputs is None else outputs
        columns = np.ones(self.n_inputs, bool) if inputs is None else inputs
        chosen = np.ix_(rows, columns)
        quantized = self.quantized
        if quantized is not None:
            if quantized.group_scales is not None and not columns.all():
                raise FarthingError(
                    f"{self.name}: has group scales along its inputs, none of which can be "
                    "removed; prune before quantizing"
                )
            groups = quantized.group_scales
            self.quantized = replace(
                quantized,
                values=quantized.values[chosen],
                scale=quantized.scale[rows],
                group_scales=None if groups is None else groups[rows],
            )
        self.weight, self.bias = self.weight[chosen], self.bias[rows]
        self.mask = None if self.mask is None else self.mask[chosen]
        self.sign = None if self.sign is None else self.sign[chosen]

    def copy(self) -> Dense:
        """A copy that shares no array with this layer and has no training hooks."""
        return replace(
            self,
            weight=self.weight.copy(),
            bias=self.bias.copy(),
            mask=None if self.mask is None else self.mask.copy(),
            sign=None if self.sign is None else self.sign.copy(),
            quantized=None if self.quantized is None else self.quantized.copy(),
            weight_view=None,
            output_view=None,
        )
