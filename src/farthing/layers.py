"""Dense layers: parameters, masks and quantization state, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from farthing._validate import FarthingError
from farthing.activations import ACTIVATIONS, activate
from farthing.batchnorm import BatchNorm
from farthing.grids import Grid

__all__ = ["Dense", "QuantizedWeight", "Scratch"]

# What is used in place of the weights, told whether it is training.  One that has a ``backward`` is
# given the gradient by what it gave and gives that by the weights; else they are the same.
WeightView = Callable[[np.ndarray, bool], np.ndarray]
Backward = Callable[..., tuple[np.ndarray | None, dict[str, np.ndarray]]]


class ValueView(Protocol):
    """Rounds and clamps values; ``limit`` is the largest it lets through, ``lower`` (if it has
    such an attribute) the smallest."""

    limit: float

    def __call__(self, values: np.ndarray) -> np.ndarray: ...


def _within(values: np.ndarray, view: ValueView) -> np.ndarray:
    """Where the view's clamp does not act."""
    within = values <= view.limit
    lower = getattr(view, "lower", None)
    return within if lower is None else np.logical_and(within, values >= lower, out=within)


def _learn(view: ValueView | None, gradient: np.ndarray) -> None:
    """Shows the gradient by its values to a view that learns."""
    if hasattr(view, "learn"):
        view.learn(gradient)


class Scratch:
    """Arrays that a layer writes into again at every step, by purpose, shape and type."""

    def __init__(self):
        self._arrays: dict[tuple, np.ndarray] = {}

    def __call__(self, purpose: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        key = purpose, shape, dtype
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = np.empty(shape, dtype)
        return array


class _Fresh:
    """The same interface, a new array every time."""

    def __call__(self, purpose: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        return np.empty(shape, dtype)


_FRESH = _Fresh()


def _into(out: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    if out is None:
        return values
    out[:] = values
    return out


def _product(a, b, out: np.ndarray) -> np.ndarray:
    """``a @ b`` in ``out``, also where one of them is no array but multiplies as one."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.matmul(a, b, out=out)
    out[:] = a @ b
    return out


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

    def sums(self) -> np.ndarray:
        """The sum of every output's integers, group scales included, float64 (n,)."""
        values = self.values.astype(np.float64)
        if self.group_scales is not None:
            values *= np.repeat(self.group_scales, self.group_size, axis=1)[:, : values.shape[1]]
        return values.sum(axis=1)

    def with_values(self, values: np.ndarray) -> QuantizedWeight:
        """The same scales for other integers (n, k)."""
        return replace(self, values=values.astype(np.int8))

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

    weight: float32 (n, k); bias: float32 (n,); activation: "relu", "linear", "tanh", "gelu",
    "silu" or "sigmoid" (`farthing.activations`); mask: bool (n, k), False = pruned, or None;
    sign: int8 (n, k) or None: a weight must stay >= 0 where it is +1 and <= 0 where it is -1 (a
    monotone model).  bound: float32 (n,) or None: ReLU units go no higher than theirs, infinity for
    those without.  residual: the input is added to the output, n == k (He et al., "Deep
    Residual Learning for Image Recognition", 2016).  norm: batch normalisation of the product,
    in place of the bias, while the layer is trained; ``fold_norm`` turns it into both.

    ``quantized`` holds the integer weights after quantization (the float ones then equal
    ``quantized.dequantize()``), ``output_scale`` the real value of one step of the quantized
    output (None for the last layer), which begins at ``output_offset``.  ``pre_grid`` is the
    grid of the values before the activation where a table computes it (all but ReLU),
    ``value_grid`` that of the values after it in a residual layer, whose output is their sum
    with the input.  The views are the hooks of quantization-aware training,
    what forward uses instead of the float weight (``weight_view``, told whether it is
    training), of the values before the activation (``pre_view``) and after it
    (``output_view``), and of their sum with the input (``residual_view``, of a residual layer);
    gradients pass straight through, except where a value was beyond the ``limit``, or below the
    ``lower``, of a view (its clamp), where they are zero.

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
    bound: np.ndarray | None = None
    residual: bool = False
    norm: BatchNorm | None = field(default=None, repr=False, compare=False)
    quantized: QuantizedWeight | None = None
    output_scale: float | None = None
    output_offset: float = 0.0
    pre_grid: Grid | None = None
    value_grid: Grid | None = None
    weight_view: WeightView | None = field(default=None, repr=False, compare=False)
    pre_view: ValueView | None = field(default=None, repr=False, compare=False)
    output_view: ValueView | None = field(default=None, repr=False, compare=False)
    residual_view: ValueView | None = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        if self.activation not in ACTIVATIONS:
            raise FarthingError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}"
            )
        if self.bound is not None and self.activation != "relu":
            raise FarthingError(
                f"{self.name}: bound must be None with an activation other than relu, "
                f"got {self.activation}"
            )
        if self.residual and self.n_outputs != self.n_inputs:
            raise FarthingError(
                f"{self.name}: a residual layer must have as many outputs as inputs, got "
                f"{self.n_outputs} and {self.n_inputs}"
            )

    @property
    def n_outputs(self) -> int:
        return self.weight.shape[0]

    @property
    def n_inputs(self) -> int:
        return self.weight.shape[1]

    @property
    def output_grid(self) -> Grid | None:
        """The grid of the quantized output; None for the last layer, and without quantization."""
        return None if self.output_scale is None else Grid(self.output_scale, self.output_offset)

    def forget_grids(self) -> None:
        """Back to floats: no integer weights and no grids; the float weights stay."""
        self.quantized = self.output_scale = self.pre_grid = self.value_grid = None
        self.output_offset = 0.0

    @property
    def support(self) -> np.ndarray:
        """Which weights no pruning has dropped, bool (n, k)."""
        return np.ones(self.weight.shape, bool) if self.mask is None else self.mask

    @property
    def views(self) -> list:
        """What is in place of its weights and values in training."""
        found = (self.weight_view, self.pre_view, self.output_view, self.residual_view)
        return [view for view in found if view is not None]

    def drop_views(self) -> None:
        """Ends quantization-aware training."""
        self.weight_view = self.pre_view = self.output_view = self.residual_view = None

    def parameters(self) -> dict[str, tuple[object, str]]:
        """Who holds what is trained, by the names of ``backward``: (object, attribute)."""
        own: dict[str, tuple[object, str]] = {"weight": (self, "weight")}
        if self.norm is None:
            return own | {"bias": (self, "bias")}
        return own | {"gamma": (self.norm, "gamma"), "beta": (self.norm, "beta")}

    def activate(
        self, z: np.ndarray, training: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Activation and bound of values (rows, n), which may be overwritten, and their slope as
        `farthing.activations.activate` gives it."""
        y, slope = activate(self.activation, z, training)
        if self.bound is not None:
            slope = np.logical_and(slope, y < self.bound, out=slope) if training else None
            y = np.minimum(y, self.bound, out=y)
        return y, slope

    def forward(
        self,
        x: np.ndarray,
        training: bool = False,
        *,
        row_weight: np.ndarray | None = None,
        scratch: Scratch | None = None,
    ) -> tuple[np.ndarray, Backward | None]:
        """Output (rows, n) of ``x`` (rows, k), and its backward pass where ``training``.

        ``backward(dy, need_input=True, out=None)`` takes the gradient of the loss by the output
        and gives ``(dx, {"weight": (n, k), "bias": (n,)})``, ``dx`` None unless
        ``need_input``, which may also name columns of ``x``; out: a dict of arrays to write
        the latter into.  With ``norm`` it is "gamma" and "beta" instead of "bias".  The
        gradient of a masked weight is exactly 0.  It reads the weights and ``x`` as they are when
        it is called: call it before either changes.  row_weight: (rows,), how much a row counts
        in the statistics of ``norm``.
        scratch: where output and gradients lie until the next call with it; ``x`` may be
        anything that ``@`` multiplies with arrays.
        """
        weight = self.weight
        if self.weight_view is not None:
            weight = self.weight_view(weight, training)
        new = _FRESH if scratch is None else scratch
        dtype = np.promote_types(x.dtype, weight.dtype)
        z = _product(x, weight.T, new("z", (x.shape[0], weight.shape[0]), dtype))
        norm_backward = None
        # Where the clamps of the views before and after the activation, and of the sum, let
        # gradients through.
        before = after = summed = None
        if self.norm is None:
            z += self.bias
        else:
            z, norm_backward = self.norm.forward(z, training, row_weight)
        if self.pre_view is not None:
            before = _within(z, self.pre_view) if training else None
            z = self.pre_view(z)
        y, slope = self.activate(z, training)
        if self.output_view is not None:
            after = _within(y, self.output_view) if training else None
            y = self.output_view(y)
        if self.residual:
            y = np.add(y, x, out=y)
            if self.residual_view is not None:
                summed = _within(y, self.residual_view) if training else None
                y = self.residual_view(y)
        if not training:
            return y, None

        def backward(dy, need_input=True, out=None):
            out = {} if out is None else out
            if summed is not None:
                _learn(self.residual_view, dy)
                dy = np.multiply(dy, summed, out=new("dy", dy.shape, dy.dtype))
            dz = dy
            views = (self.output_view, None, self.pre_view)
            for factor, view in zip((after, slope, before), views, strict=True):
                if factor is not None:
                    _learn(view, dz)
                    dz = np.multiply(dz, factor, out=new("dz", dy.shape, dy.dtype))
            gradient = {}
            if norm_backward is None:
                gradient["bias"] = dz.sum(axis=0, out=out.get("bias"))
            else:
                dz, own = norm_backward(dz)
                for name, values in own.items():
                    gradient[name] = _into(out.get(name), values)
            target = out.get("weight")
            if target is None:
                target = np.empty(weight.shape, dtype)
            gradient["weight"] = _product(dz.T, x, target)
            if hasattr(self.weight_view, "backward"):
                target[:] = self.weight_view.backward(target)
            if self.mask is not None:
                gradient["weight"] *= self.mask
            if isinstance(need_input, np.ndarray):
                dx = dz @ weight[:, need_input]
                return (dx + dy[:, need_input] if self.residual else dx), gradient
            if not need_input:
                return None, gradient
            dx = np.matmul(dz, weight, out=new("dx", x.shape, dtype))
            if self.residual:
                dx += dy
            return dx, gradient

        return y, backward

    def fold_norm(self) -> None:
        """Puts ``norm``, with its running statistics, into weight and bias: zeros stay zeros.

        Output and quantization hooks do not change; ``norm`` is None afterwards.
        """
        if self.norm is None:
            return
        scale, shift = self.norm.affine()
        dtype = self.weight.dtype
        self.weight = (self.weight * scale[:, None]).astype(dtype)
        self.bias = shift.astype(dtype)
        self.norm = None

    def astype(self, dtype) -> None:
        """Changes the floating type of the parameters, in place."""
        self.weight = self.weight.astype(dtype, copy=False)
        self.bias = self.bias.astype(dtype, copy=False)
        if self.norm is not None:
            self.norm.astype(dtype)

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
            if self.norm is not None:
                # A negative factor would turn every sign of the row around.
                np.maximum(self.norm.gamma, 0, out=self.norm.gamma)

    def keep(self, outputs: np.ndarray | None = None, inputs: np.ndarray | None = None) -> None:
        """Shrinks to some outputs and inputs, given as bool arrays (n,) and (k,) or None.

        Raises FarthingError where inputs go from a layer with group scales: the groups
        along k would shift; and where other outputs than inputs go from a residual layer.
        """
        rows = np.ones(self.n_outputs, bool) if outputs is None else outputs
        columns = np.ones(self.n_inputs, bool) if inputs is None else inputs
        if self.residual and not np.array_equal(rows, columns):
            raise FarthingError(
                f"{self.name}: adds its inputs to its outputs, so that the same ones must be kept "
                f"of both, got {np.count_nonzero(rows)} outputs and "
                f"{np.count_nonzero(columns)} inputs"
            )
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
        self.bound = None if self.bound is None else self.bound[rows]
        self.norm = None if self.norm is None else self.norm.select(rows)

    def copy(self) -> Dense:
        """A copy that shares no array with this layer and has no training hooks."""
        return replace(
            self,
            weight=self.weight.copy(),
            bias=self.bias.copy(),
            mask=None if self.mask is None else self.mask.copy(),
            sign=None if self.sign is None else self.sign.copy(),
            bound=None if self.bound is None else self.bound.copy(),
            norm=None if self.norm is None else self.norm.copy(),
            quantized=None if self.quantized is None else self.quantized.copy(),
            weight_view=None,
            pre_view=None,
            output_view=None,
            residual_view=None,
        )
