"""Training on the way to integers: learned steps, integer weights, what stays the same."""

import credit
import numpy as np
import pytest
from rounding import INT4, problem

import farthing
from farthing.activations import activate
from farthing.grids import Grid
from farthing.layers import Dense
from farthing.quantization.integer import FINE, IntegerWeights
from farthing.quantization.lsq import LearnedGrid, LearnedSteps
from farthing.quantization.views import keep_grids


def test_the_gradient_of_a_learned_step_is_the_paper_s():
    layer, _, _ = problem(n=3, k=10)
    view = LearnedSteps(layer, INT4)
    view.step[:] = np.abs(layer.weight).max(axis=1, keepdims=True) / 5  # the largest fits
    view.step[0] /= 2  # and here some are clipped
    step, weight = view.step.copy(), layer.weight
    seen = view(weight, True)
    gradient = np.random.default_rng(0).normal(size=weight.shape)
    view.rate = 1e-3
    passed = view.backward(gradient.copy())
    for i in range(3):
        slope = 0.0
        for j in range(10):
            v = weight[i, j] / step[i, 0]
            if abs(v) > 7:
                assert passed[i, j] == 0 and seen[i, j] == pytest.approx(
                    7 * np.sign(v) * step[i, 0]
                )
                slope += gradient[i, j] * 7 * np.sign(v)
            else:
                assert passed[i, j] == gradient[i, j]
                slope += gradient[i, j] * (round(v) - v)
        # Adam's first step is the rate, against the sign of the gradient.
        assert np.log(view.step[i, 0] / step[i, 0]) == pytest.approx(
            -10 * 1e-3 * np.sign(slope), rel=1e-3
        )
    assert (np.abs(weight / step) > 7).any()


def test_the_gradient_of_activation_steps_is_that_of_rounding_held_still():
    """By differences: what rounding adds, in steps, and what is clamped stay as they are."""
    rng = np.random.default_rng(0)
    amax, n, rate = 15, 6, 1e-3
    layer = Dense("dense1", rng.normal(size=(n, n)), rng.normal(size=n), "gelu", residual=True)
    x = rng.normal(size=(40, n))
    grids = {"pre": Grid(0.2, -1.5), "output": Grid(0.07, -0.1), "residual": Grid(0.3, -2.0)}
    views = {name: LearnedGrid(grid, amax) for name, grid in grids.items()}
    for name, view in views.items():
        setattr(layer, f"{name}_view", view)
        view.rate = rate
    shown, backward = layer.forward(x, training=True)
    gradient = rng.normal(size=shown.shape)

    held = {}

    def rounded(name, values, scale):
        grid = grids[name]
        exact = (values - grid.offset) / scale
        if name not in held:  # at the steps that there are
            held[name] = (np.rint(exact) - exact, exact < 0, exact > amax)
        off, below, above = held[name]
        codes = np.where(below, 0, np.where(above, amax, exact + off))
        return grid.offset + codes * scale

    def surrogate(pre, output, residual):
        z = rounded("pre", x @ layer.weight.T + layer.bias, pre)
        y = rounded("output", activate("gelu", z)[0], output)
        return rounded("residual", y + x, residual)

    scales = [grid.scale for grid in grids.values()]
    np.testing.assert_allclose(surrogate(*scales), shown, rtol=1e-12)
    assert all(below.any() and above.any() for _, below, above in held.values())
    backward(gradient)
    for i, (name, view) in enumerate(views.items()):
        moved = []
        for d in (1e-6, -1e-6):
            others = list(scales)
            others[i] *= 1 + d
            moved.append((gradient * surrogate(*others)).sum())
        slope = (moved[0] - moved[1]) / 2e-6
        # By the logarithm of the step; the moment of Adam after one step is a tenth of it.
        assert view._mean[0] == pytest.approx(0.1 * slope, rel=1e-4), name
        assert view.grid.offset == grids[name].offset
        assert np.log(view.grid.scale / scales[i]) == pytest.approx(
            -3 * rate * np.sign(slope), rel=1e-3
        )


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_learned_activation_steps_are_delivered(activation):
    X, y = credit.data()
    model = farthing.Classifier(
        (12, 12), activation=activation, residual=True, max_epochs=2, random_state=0
    ).fit(X, y)
    start = farthing.quantize(model, X, y)
    learned = farthing.quantize(model, X, y, training="lsq", epochs=2)
    for before, after in zip(start.model_.layers[:-1], learned.model_.layers[:-1], strict=True):
        for grid in ("pre_grid", "value_grid", "output_grid"):
            old, new = getattr(before, grid), getattr(after, grid)
            assert (old is None) == (new is None)
            if old is not None:
                assert new.offset == old.offset and new.scale != old.scale
                assert 0.5 < new.scale / old.scale < 2
    wanted = model.predict_proba(X)
    assert np.abs(learned.predict_proba(X) - wanted).max() < 0.05


def test_landing_is_right_in_the_mean_and_nearest_is_not():
    rng = np.random.default_rng(0)
    layer, _, _ = problem()
    for rounding, moves in (("stochastic", True), ("nearest", False)):
        weights = IntegerWeights(layer, INT4, rounding, rng)
        start = layer.weight.copy()
        weights.land(layer)
        integers = layer.weight.copy()
        step = weights._step
        landed = []
        for _ in range(2000):  # an update of a fifth of a step
            layer.weight = (integers + np.float32(0.2) * step).astype(np.float32)
            weights.land(layer)
            whole = layer.weight / step
            assert np.abs(whole - np.rint(whole)).max() < 1e-4
            landed.append((layer.weight - integers) / step)
        inside = np.abs(integers / step) < 7 * FINE - 1
        mean = np.mean(landed, axis=0)[inside]
        np.testing.assert_allclose(mean, 0.2 if moves else 0.0, atol=0.05)
        layer.weight = start


@pytest.mark.parametrize("rounding", ["floor", "nearest", "stochastic"])
def test_weights_that_no_update_moves_stay(rounding):
    layer, _, _ = problem(n=40)
    weights = IntegerWeights(layer, INT4, rounding, np.random.default_rng(0))
    start = layer.weight.copy()
    for _ in range(5):
        weights.land(layer)
    np.testing.assert_array_equal(layer.weight, start)


def test_no_float_copy_is_kept_between_updates(monkeypatch):
    """Whenever the network runs, in training or to be judged, its weights are integers of int8."""
    X, y = credit.data()
    seen = []
    original = IntegerWeights.__call__

    def spy(self, weight, training):
        seen.append(np.asarray(weight / self._step))
        return original(self, weight, training)

    monkeypatch.setattr(IntegerWeights, "__call__", spy)
    small = farthing.quantize(
        credit.fitted(), X, y, weight_bits=4, training="integer", epochs=1, augment=0
    )
    assert len(seen) > 30
    for integers in seen:
        assert np.abs(integers - np.rint(integers)).max() < 1e-3
        assert np.abs(integers).max() < 127
    assert max(np.abs(integers).max() for integers in seen) > 100  # and it is int8 that they use
    assert all(np.abs(layer.quantized.values).max() <= 7 for layer in small.model_.layers)


@pytest.mark.parametrize("training", ["qat", "lsq", "integer"])
def test_an_interrupted_training_delivers_integers(training, monkeypatch):
    """Before its first step: what rounding to nearest gives."""
    from farthing import training as loop

    def interrupted(*_):
        raise KeyboardInterrupt

    X, y = credit.data()
    monkeypatch.setattr(loop._Steps, "epoch", interrupted)
    small = farthing.quantize(credit.fitted(), X, y, weight_bits=4, training=training)
    plain = farthing.quantize(credit.fitted(), X, y, weight_bits=4)
    for one, other in zip(small.model_.layers, plain.model_.layers, strict=True):
        assert np.array_equal(one.quantized.values, other.quantized.values)


@pytest.mark.parametrize("training", ["lsq", "integer"])
def test_training_recovers_what_rounding_loses(training):
    X, y = credit.data()
    base = credit.fitted()
    wanted = base.predict_proba(X)[:, 1]

    def off(model):
        return float(np.abs(model.predict_proba(X)[:, 1] - wanted).mean())

    plain = off(farthing.quantize(base, X, weight_bits=4))
    trained = farthing.quantize(base, X, y, weight_bits=4, training=training)
    assert off(trained) < 0.8 * plain
    again = farthing.quantize(base, X, y, weight_bits=4, training=training)
    assert np.array_equal(again.predict_proba(X), trained.predict_proba(X))


def test_residual_and_smooth_layers_take_every_method():
    X, y = credit.data()
    model = farthing.Classifier(
        (12, 12), activation="gelu", residual=True, max_epochs=3, random_state=0
    ).fit(X, y)
    wanted = model.predict_proba(X)[:, 1]
    for arguments in ({"method": "gptq"}, {"method": "adaround", "bias_correction": True}):
        small = farthing.quantize(model, X, **arguments)
        assert np.abs(small.predict_proba(X)[:, 1] - wanted).max() < 0.05


# ---- targets of any unit ------------------------------------------------------------------------


def regression(unit, loss="squared"):
    """A regressor of the same target in other units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 4))
    target = 2 * X[:, 0] + np.sin(2 * X[:, 1])
    y = unit * (target + 0.3 * rng.standard_t(2, len(X)) + 5)
    model = farthing.Regressor((16,), loss=loss, max_epochs=8, random_state=0).fit(X, y)
    return model, X, y, unit * (target + 5)


def explained(model, X, wanted):
    off = model.predict(X) - wanted
    return 1 - (off**2).mean() / wanted.var()


@pytest.mark.parametrize("training", ["qat", "lsq", "integer"])
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_training_does_not_depend_on_the_unit_of_y(training, unit):
    model, X, y, wanted = regression(unit)
    small = farthing.quantize(model, X, y, training=training, epochs=2)
    assert explained(small, X, wanted) > explained(model, X, wanted) - 0.01


def test_learned_steps_go_back_with_the_weights_of_the_best_epoch():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4))
    y = rng.random(3000) < 1 / (1 + np.exp(-X[:, 0]))
    model = farthing.Classifier((16,), max_epochs=10, random_state=0).fit(X, y)
    seen, delivered = [], []
    original, packed = LearnedSteps.snapshot, LearnedSteps.packed

    def snapshot(self):
        seen.append((id(self), original(self)))
        return original(self)

    def kept(layer):
        if layer.output_view is not None:
            delivered.append((id(layer.output_view), layer.output_view.step.copy()))
        keep_grids(layer)

    def spy(self, weight):
        delivered.append((id(self), self.step.copy()))
        return packed(self, weight)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LearnedSteps, "snapshot", snapshot)
        patch.setattr(LearnedGrid, "snapshot", snapshot)
        patch.setattr("farthing.quantization.api.keep_grids", kept)
        patch.setattr(LearnedSteps, "packed", spy)
        arguments = {"training": "lsq", "epochs": 12, "alpha": 0.0, "augment": 0}
        farthing.quantize(model, X, y, weight_bits=4, learning_rate=0.02, **arguments)
    last = dict(seen)  # of the best epoch, the last that was better
    assert len(delivered) == 3
    for view, step in delivered:
        assert np.array_equal(step, last[view])
