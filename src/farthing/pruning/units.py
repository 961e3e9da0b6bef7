"""What pruning removes: the units of each pattern, their norms, and how they go."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from farthing import _core
from farthing._validate import FarthingError
from farthing.encoding import PiecewiseLinearEncoder
from farthing.kernels import block_of, check_n_of_m, n_of_m, spread_blocks
from farthing.layers import Dense
from farthing.model import Model
from farthing.probe import Sample
from farthing.pruning.baseline import Random
from farthing.pruning.magnitude import Magnitude
from farthing.pruning.scores import Score

__all__ = ["PATTERNS", "Units", "kind_of", "units_of"]

BLOCK, N_OF_M = "4x8 or another block", "2:4 or another N:M"
PATTERNS = ("unstructured", "neuron", "feature", "bin", BLOCK, N_OF_M)


class Units:
    """The prunable units of a model: their norms, and the masks that drop them.

    score: what a weight is worth, by which a unit's norm is taken.
    """

    # In so many parts those go that go at once: more where they change each other's norms.
    rounds = 1

    def __init__(self, model: Model, norm: str, score: Score):
        self.model, self.score = model, score
        self.order = score.order or {"l1": 1, "l2": 2}[norm]

    @property
    def layers(self) -> list[Dense]:
        """Those that have units, as many as there are vectors of norms."""
        return self.model.layers

    def alive(self) -> list[np.ndarray]:
        """Which units are not dropped, a bool vector a layer."""
        raise NotImplementedError

    def _norms(self) -> list[np.ndarray]:
        """Of all units, dropped or not, an array a layer."""
        raise NotImplementedError

    def norms(self) -> list[np.ndarray]:
        """A float32 vector a layer; a unit already dropped is -1, below every other."""
        return [
            np.where(alive, norm.ravel(), -1.0).astype(np.float32)
            for alive, norm in zip(self.alive(), self._norms(), strict=True)
        ]

    def scores(self) -> list[np.ndarray]:
        """Norms made comparable between layers."""
        return self.norms()

    def drop(self, keep: list[np.ndarray]) -> None:
        """Sets masks, and zeroes what they drop."""
        raise NotImplementedError

    def hold(self) -> None:
        """Restores, after a training step, what no mask keeps."""

    def complete(self) -> None:
        """Drops what a pattern asks for beyond its share."""

    def shrink(self) -> None:
        """Removes what was dropped from the model's shapes, where that can be done."""


def units_of(
    pattern: str,
    model: Model,
    norm: str,
    sample: Sample | None = None,
    score: Score | None = None,
    exclude: Collection[str] = (),
) -> Units:
    """The units of `pattern`; sample: rows, whose mean stands for a feature or neuron that goes;
    score: None for the magnitude; exclude: layers that the pattern need not fit."""
    kind = kind_of(pattern)
    score = Magnitude() if score is None else score
    if kind == BLOCK:
        return Blocks(model, norm, score, block_of(pattern))
    if kind == N_OF_M:
        return Neighbours(model, norm, score, pattern, exclude)
    if kind in ("feature", "neuron"):
        return {"feature": Features, "neuron": Neurons}[kind](model, norm, score, sample)
    return {"unstructured": Weights, "bin": Bins}[kind](model, norm, score)


def kind_of(pattern: object) -> object:
    """Which of `PATTERNS` a pattern is; itself where it is none.

    >>> kind_of("32x4"), kind_of("1:4"), kind_of("bin")
    ('4x8 or another block', '2:4 or another N:M', 'bin')
    """
    if block_of(pattern):
        return BLOCK
    return N_OF_M if n_of_m(pattern) else pattern


class Weights(Units):
    def alive(self):
        return [layer.support.ravel() for layer in self.layers]

    def _norms(self):
        # For a single weight the L1 and the L2 norm are both its size.
        return self.score.sizes(self.model)

    def drop(self, keep):
        for layer, kept in zip(self.layers, keep, strict=True):
            _keep(layer, kept.reshape(layer.weight.shape))


class Blocks(Units):
    """Blocks of so many outputs by so many inputs of every layer, short at the edges."""

    def __init__(self, model: Model, norm: str, score: Score, block: tuple[int, int]):
        super().__init__(model, norm, score)
        self.block = block

    def alive(self):
        return [(self._blocks(layer.support) > 0).ravel() for layer in self.layers]

    def _norms(self):
        rows, columns = self.block
        blocks = {i: np.arange(layer.n_inputs) // columns for i, layer in enumerate(self.layers)}
        losses = self.score.together(self.model, blocks)
        if losses is not None:
            starts = [np.arange(0, len(loss), rows) for loss in losses]
            pairs = zip(losses, starts, strict=True)
            return [np.sqrt(np.add.reduceat(loss, start, axis=0)) for loss, start in pairs]
        return [self._blocks(size, self.order == 2) for size in self.score.sizes(self.model)]

    def scores(self):
        if self.score.is_loss:
            return self.norms()
        # A short block has the smaller norm whatever its weights are worth: the mean size (L1) or
        # the root mean square (L2) decides.
        counts = [self._blocks(np.ones_like(layer.weight)).ravel() for layer in self.model.layers]
        return [
            np.where(norm < 0, norm, norm / count ** (1 / self.order)).astype(np.float32)
            for norm, count in zip(self.norms(), counts, strict=True)
        ]

    def drop(self, keep):
        for layer, kept in zip(self.model.layers, keep, strict=True):
            _keep(layer, spread_blocks(kept, self.block, layer.weight.shape))

    def _blocks(self, weight: np.ndarray, l2: bool = False) -> np.ndarray:
        return _core.prune_scores(np.ascontiguousarray(weight, np.float32), *self.block, l2)


class Neighbours(Weights):
    """N:M: weights, of which the N largest among every M neighbouring inputs never go (Mishra et
    al. 2021, "Accelerating sparse deep neural networks")."""

    def __init__(
        self, model: Model, norm: str, score: Score, pattern: str, exclude: Collection[str]
    ):
        super().__init__(model, norm, score)
        self.stay, self.of = n_of_m(pattern)
        self._exclude = exclude
        fitting = [layer for layer in model.layers if layer.name not in exclude]
        check_n_of_m(pattern, None, **{layer.name: layer.n_inputs for layer in fitting})

    def norms(self):
        norms = []
        for layer, own in zip(self.layers, self.score.sizes(self.model), strict=True):
            if layer.name in self._exclude:
                norms.append(np.full(layer.weight.size, np.inf, np.float32))
                continue
            mask, size = layer.support, own.astype(np.float32)
            # What is masked loses against a weight that is worth nothing.
            rank = np.where(mask, np.maximum(size, np.finfo(np.float32).tiny), 0)
            stay = _core.prune_neighbours(np.ascontiguousarray(rank), self.stay, self.of)
            norms.append(np.where(stay & mask, np.inf, np.where(mask, size, -1)).ravel())
        return norms

    def complete(self):
        # Where zeros were before, their share is reached too soon.
        self.drop([np.isinf(norm) for norm in self.norms()])


class Features(Units):
    """Raw features: all that the first layer reads of one."""

    def __init__(self, model: Model, norm: str, score: Score, sample: Sample | None):
        super().__init__(model, norm, score)
        self.means = None if sample is None else sample.share @ sample.inputs(model)[0]

    @property
    def layers(self):
        return self.model.layers[:1]

    def alive(self):
        owner, count = self.model.encoder.feature_of_column, self.model.n_features
        return [np.bincount(owner, self.model.layers[0].support.any(axis=0), count) > 0]

    def _norms(self):
        owner, count = self.model.encoder.feature_of_column, self.model.n_features
        losses = self.score.together(self.model, {0: owner})
        if losses is None:
            size = self.score.sizes(self.model)[0].astype(np.float64) ** self.order
            return [np.bincount(owner, size.sum(axis=0), count) ** (1 / self.order)]
        loss = losses[0].sum(axis=0)
        return [np.sqrt(np.pad(loss, (0, count - len(loss))))]

    def drop(self, keep):
        layer = self.model.layers[0]
        stay = keep[0][self.model.encoder.feature_of_column]
        if self.means is not None:
            layer.bias += (layer.weight[:, ~stay] @ self.means[~stay]).astype(layer.bias.dtype)
        layer.set_mask(layer.support & stay)

    def shrink(self):
        """Takes the bins of dropped numeric features: their columns, and rows of the table."""
        encoder, layer = self.model.encoder, self.model.layers[0]
        if not isinstance(encoder, PiecewiseLinearEncoder) or layer.mask is None:
            return
        alive = np.bincount(encoder.feature_of_column, layer.mask.any(axis=0), encoder.n_features_)
        gone = [j for j in np.flatnonzero(alive == 0) if j not in encoder.categories_]
        layer.keep(inputs=~np.isin(encoder.feature_of_column, gone))
        edges, fill = list(encoder.edges_), encoder.fill_.copy()
        for j in gone:
            edges[j], fill[j] = edges[j][:0], 0
        encoder.set_edges(edges, fill)
        _forget_full_masks(self.model)


class Neurons(Units):
    def __init__(self, model: Model, norm: str, score: Score, sample: Sample | None):
        super().__init__(model, norm, score)
        if len(model.layers) < 2:
            raise FarthingError("pattern 'neuron' needs a hidden layer, got a model without one")
        if any(layer.residual for layer in model.layers):
            raise FarthingError(
                "pattern 'neuron' needs a model without residual layers, whose outputs and inputs "
                "must stay the same ones"
            )
        self.sample = sample

    @property
    def layers(self):
        return self.model.layers[:-1]

    def alive(self):
        return [_alive(layer) for layer in self.layers]

    def _norms(self):
        neurons = {i + 1: np.arange(layer.n_outputs) for i, layer in enumerate(self.layers)}
        losses = self.score.together(self.model, neurons)
        if losses is not None:
            return [np.sqrt(loss.sum(axis=0)) for loss in losses]
        sizes = self.score.sizes(self.model)[:-1]
        return [np.linalg.norm(size.astype(np.float64), ord=self.order, axis=1) for size in sizes]

    def scores(self):
        if self.score.is_loss:
            return self.norms()
        # Whatever they are worth, a neuron of more inputs has the larger norm, and so has one of
        # few inputs that each say much: between layers each counts by its layer's mean.
        scores = []
        for norm in self.norms():
            alive = norm >= 0
            mean = norm[alive].mean() if norm[alive].any() else 1.0
            scores.append(np.where(alive, norm / mean, -1.0).astype(np.float32))
        return scores

    def drop(self, keep):
        layers = self.model.layers
        means = self._mean_outputs()
        for layer, following, kept, mean in zip(layers[:-1], layers[1:], keep, means, strict=True):
            self._fold_constants(layer, following)
            stay = kept & _alive(layer)
            if mean is not None:
                gone = ~kept & _alive(layer)
                following.bias += (following.weight[:, gone] @ mean[gone]).astype(
                    following.bias.dtype
                )
            layer.set_mask(layer.support & stay[:, None])
            following.set_mask(following.support & stay)
            layer.bias *= stay

    def shrink(self):
        shrink_neurons(self.model)

    def _mean_outputs(self) -> list[np.ndarray | None]:
        """What every hidden layer answers on average, for what goes to leave behind."""
        if self.sample is None:
            return [None] * len(self.layers)
        return [self.sample.share @ x for x in self.sample.inputs(self.model)[1:]]

    def _fold_constants(self, layer, following):
        """The next layer's bias takes what neurons without weights answer: constants."""
        gone = ~_alive(layer)
        answer = layer.bias.copy()
        if layer.pre_grid is not None:
            answer = layer.pre_grid.rounded(answer, self.model.input_amax)
        answer, _ = layer.activate(answer)
        if layer.output_grid is not None:
            answer = layer.output_grid.rounded(answer, self.model.input_amax)
        following.bias += following.weight[:, gone] @ answer[gone]
        layer.bias[gone] = 0


def _alive(layer) -> np.ndarray:
    return layer.support.any(axis=1)


def _keep(layer: Dense, kept: np.ndarray) -> None:
    """Masks what is not `kept`; a layer that keeps all needs no mask."""
    if layer.mask is not None or not kept.all():
        layer.set_mask(layer.support & kept)


def shrink_neurons(model: Model) -> None:
    """Removes hidden neurons whose mask is all False, from their layer and the next.

    That one does not read them, so that nothing changes.
    """
    for layer, following in zip(model.layers[:-1], model.layers[1:], strict=True):
        if layer.mask is None:
            continue
        stay = _alive(layer)
        stay[0] |= not stay.any()  # a layer without a neuron is none
        if not stay.all():
            following.keep(inputs=stay)
            layer.keep(outputs=stay)
    _forget_full_masks(model)


def _forget_full_masks(model: Model) -> None:
    for layer in model.layers:
        if layer.mask is not None and layer.mask.all():
            layer.mask = None


class Bins(Units):
    """Inner edges of the encoding: without one, two neighbouring bins of a feature are one.

    A first layer's unit is, in every feature, piecewise linear with a slope a bin.  The norm of
    an edge is over the units: how far, at the edge, the line through both bins passes the corner
    that it replaces.  Until `shrink`, bins that are one have slopes that are kept equal.
    """

    rounds = 32

    def __init__(self, model: Model, norm: str, score: Score):
        super().__init__(model, norm, score)
        encoder = model.encoder
        if not isinstance(encoder, PiecewiseLinearEncoder) or not (encoder.bins_ > 1).any():
            raise FarthingError(
                "pattern 'bin' needs a model with encoder='piecewise_linear' and a feature of two "
                "bins or more"
            )
        if model.is_quantized:
            raise FarthingError(
                "pattern 'bin' needs float weights, got a quantized model; prune before quantizing"
            )
        columns = [encoder.ordered_columns(j) for j in np.flatnonzero(encoder.bins_)]
        widths = [
            np.diff(encoder.edges_[j].astype(np.float64)) for j in np.flatnonzero(encoder.bins_)
        ]
        # Neighbouring columns of one feature, and the widths of all columns that are bins.
        self.left = np.concatenate([own[:-1] for own in columns])
        self.width = np.ones(encoder.width)
        self.width[np.concatenate(columns)] = np.concatenate(widths)
        self.kept = np.ones(len(self.left), bool)

    @property
    def layers(self):
        return self.model.layers[:1]

    def _starts(self) -> np.ndarray:
        """Which columns (width,) begin a run of merged ones."""
        starts = np.ones(len(self.width), bool)
        starts[self.left[~self.kept] + 1] = False
        return starts

    def _merged(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The run (width,) of every column, and of each run its weights (n, runs) and width."""
        starts = self._starts()
        run, first = np.cumsum(starts) - 1, np.flatnonzero(starts)
        weight = np.add.reduceat(self.model.layers[0].weight.astype(np.float64), first, axis=1)
        return run, weight, np.bincount(run, self.width)

    def alive(self):
        return [self.kept]

    def _norms(self):
        if isinstance(self.score, Random):
            return [self.score.sizes(self.model)[0][0, self.left]]
        run, weight, width = self._merged()
        before, after = run[self.left], run[self.left + 1]
        share = width[before] / (width[before] + width[after])
        corner = np.abs(weight[:, before] * (1 - share) - weight[:, after] * share)
        return [(corner**self.order).sum(axis=0) ** (1 / self.order)]

    def drop(self, keep):
        self.kept &= keep[0]
        self.hold()

    def hold(self):
        layer = self.model.layers[0]
        run, weight, width = self._merged()
        layer.weight[...] = weight[:, run] * (self.width / width[run])
        if layer.mask is not None:
            first = np.flatnonzero(self._starts())
            layer.mask = np.logical_or.reduceat(layer.mask, first, axis=1)[:, run]

    def shrink(self):
        encoder, layer = self.model.encoder, self.model.layers[0]
        self.hold()
        starts, (_, weight, _) = self._starts(), self._merged()
        edges = list(encoder.edges_)
        for j in np.flatnonzero(encoder.bins_):
            edges[j] = edges[j][np.append(starts[encoder.ordered_columns(j)], True)]
        layer.keep(inputs=starts)
        layer.weight[...] = weight
        layer.project()
        encoder.set_edges(edges, encoder.fill_)
