"""What a weight is worth by each score, against calculations of its own."""

import credit
import numpy as np
import pytest

import farthing
from farthing.backprop import signals
from farthing.encoding import Standardizer
from farthing.layers import Dense
from farthing.model import Model
from farthing.probe import Sample
from farthing.pruning.obs import _signed
from farthing.pruning.scores import METHODS, score_of
from farthing.pruning.units import units_of
from farthing.steps import Step

DATA_FREE = ("magnitude", "random")


def step_on(model, X=None, y=None, **arguments):
    settings = {"alpha": 1.0, "sample_weight": None, "groups": None, "validation": None}
    return Step(model, X, y, **settings | {"random_state": 0} | arguments)


def network(hidden=(6, 4), link="sigmoid", n=200, outputs=1, activation="tanh", seed=3):
    """Rows and a model on them whose weights are random."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32) * np.array([1, 2, 0.5, 1, 3], np.float32)
    encoder = Standardizer().fit(X)
    encoder.mean_[:], encoder.scale_[:] = 0, 1
    model = Model.build(
        encoder, hidden, link=link, n_outputs=outputs, activation=activation, seed=seed
    )
    for layer in model.layers:
        layer.bias[:] = rng.normal(size=layer.n_outputs)
    y = rng.integers(0, 2, n) if link == "sigmoid" else rng.normal(size=n)
    return X, y, model


def sizes(method, model, X, y=None, scheduled=False):
    step = step_on(model, X, y, validation=(X, y) if y is not None else None)
    return step, score_of(method, step, scheduled).sizes(step.model)


def outputs_of(model, x):
    return model.forward(x)


# ---- the gradients of every row -----------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_signals_are_the_gradients_of_every_row(activation):
    rng = np.random.default_rng(0)
    layers = [
        Dense("dense0", rng.normal(size=(4, 3)), rng.normal(size=4), activation),
        Dense("dense1", rng.normal(size=(4, 4)), rng.normal(size=4), activation, residual=True),
        Dense("dense2", rng.normal(size=(2, 4)), rng.normal(size=2), "linear"),
    ]
    x = rng.normal(size=(7, 3))

    def losses():
        z = x
        for layer in layers:
            z, _ = layer.forward(z)
        return (np.sin(z) * [1.0, 2.0]).sum(axis=1)

    found = signals(layers, x.copy(), lambda z: np.cos(z) * [1.0, 2.0])
    for layer, (inputs, dz) in zip(layers, found, strict=True):
        for at in np.ndindex(layer.weight.shape):
            whole = layer.weight[at]
            values = []
            for step in (1e-6, -1e-6):
                layer.weight[at] = whole + step
                values.append(losses())
            layer.weight[at] = whole
            numeric = (values[0] - values[1]) / 2e-6
            np.testing.assert_allclose(dz[:, at[0]] * inputs[:, at[1]], numeric, atol=1e-7)


# ---- scores -----------------------------------------------------------------------------------


def test_wanda_is_magnitude_times_the_norm_of_the_input():
    X, _, model = network()
    weight = np.linspace(1, 3, len(X))
    step = step_on(model, X, sample_weight=weight)
    rows, own = step.fit.rows.astype(np.float64), step.fit.weight
    found = score_of("wanda", step, False).sizes(step.model)
    hidden = np.tanh(rows @ model.layers[0].weight.T + model.layers[0].bias)
    for x, layer, size in zip((rows, hidden), model.layers, found, strict=False):
        expected = np.abs(layer.weight) * np.sqrt((own[:, None] * x**2).sum(axis=0) / own.sum())
        np.testing.assert_allclose(size, expected, rtol=1e-5)


def test_taylor_is_the_change_of_the_loss_to_first_order(monkeypatch):
    """Against differences of the loss of each minibatch."""
    from farthing.pruning import taylor

    monkeypatch.setattr(taylor, "BATCH", 50)
    X, y, model = network()
    step, found = sizes("taylor", model, X, y)

    drawn = Sample(step).index  # in this order

    def losses():
        z = outputs_of(model, step.fit.rows[drawn])[:, 0].astype(np.float64)
        return np.logaddexp(0, z) - step.fit.known[drawn] * z

    for layer in model.layers:
        layer.astype(np.float64)
    for layer, size in zip(model.layers, found, strict=True):
        for at in [(0, 0), (layer.n_outputs - 1, 2)]:
            whole, change = layer.weight[at], 0.0
            for start in range(0, len(y), 50):
                values = []
                for d in (1e-5, -1e-5):
                    layer.weight[at] = whole + d
                    values.append(losses()[start : start + 50].sum())
                change += abs((values[0] - values[1]) / 2e-5)
            layer.weight[at] = whole
            assert size[at] == pytest.approx(abs(whole) * change / len(y), rel=2e-3)


def test_taylor_reads_y_in_the_units_that_training_answers_in():
    """While a regressor trains its outputs are scaled; the order of the scores is not changed."""
    X, _ = credit.data()
    y = 1e4 * X[:, 1] + 3e5
    model = farthing.Regressor(hidden=(6,), max_epochs=2, random_state=0).fit(X, y)
    step = step_on(model, X, y)
    index = np.arange(50)
    outside = step.loss_gradient(step.model.forward(step.fit.rows[index]), index)
    inside = []

    def on_step(*_):
        if not inside:
            inside.append(step.loss_gradient(step.model.forward(step.fit.rows[index]), index))

    step.train(epochs=1, learning_rate=1e-9, augment=0, on_step=on_step)
    unit = [g / np.linalg.norm(g) for g in (inside[0], outside)]
    np.testing.assert_allclose(unit[0], unit[1], atol=1e-3)


def test_fisher_of_two_classes_is_the_mean_over_both_labels():
    X, _, model = network()
    step, found = sizes("fisher", model, X)
    rows = step.fit.rows
    p = 1 / (1 + np.exp(-outputs_of(model, rows)[:, 0].astype(np.float64)))
    slopes = signals(model.layers, model.encoder.positions(rows), np.ones_like)
    for layer, size, (x, dz) in zip(model.layers, found, slopes, strict=True):
        information = np.zeros(layer.weight.shape)
        for i in range(len(rows)):
            of_z = np.outer(dz[i], x[i]).astype(np.float64)
            for label, share in ((1, p[i]), (0, 1 - p[i])):
                information += share * ((p[i] - label) * of_z) ** 2 / len(rows)
        np.testing.assert_allclose(size**2, layer.weight**2 * information / 2, rtol=1e-3)


def test_fisher_of_counts_is_their_mean():
    X, _, model = network(hidden=(), link="log")
    model.layers[0].weight *= 0.3
    step, (size,) = sizes("fisher", model, X)
    rows = step.fit.rows.astype(np.float64)
    mean = np.exp(outputs_of(model, step.fit.rows)[:, 0].astype(np.float64))
    information = mean @ rows**2 / len(rows)  # (y - mean)^2 is the mean on average
    np.testing.assert_allclose(size[0] ** 2, model.layers[0].weight[0] ** 2 * information / 2, 1e-4)


def test_fisher_of_several_classes_draws_labels_from_the_model():
    X, _, model = network(link="softmax", outputs=3, n=4000)
    step, found = sizes("fisher", model, X)
    rows = step.fit.rows
    z = outputs_of(model, rows).astype(np.float64)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    x = np.tanh(rows @ model.layers[0].weight.T + model.layers[0].bias)
    x = np.tanh(x @ model.layers[1].weight.T + model.layers[1].bias).astype(np.float64)
    # The mean over labels of (p - onehot)^2 is p (1 - p).
    information = (p * (1 - p)).T @ x**2 / len(rows)
    expected = model.layers[2].weight ** 2 * information / 2
    np.testing.assert_allclose(found[2] ** 2, expected, rtol=0.15)


def least_squares(X, layer, support):
    """The weights and bias on a support that best repeat the sums of one output, and the error."""
    A = np.column_stack([X[:, support], np.ones(len(X))]).astype(np.float64)
    wanted = (X @ layer.weight[0] + layer.bias[0]).astype(np.float64)
    w = np.linalg.lstsq(A, wanted, rcond=None)[0]
    return w, np.mean((A @ w - wanted) ** 2)


@pytest.fixture
def undamped(monkeypatch):
    from farthing import moments

    monkeypatch.setattr(moments, "DAMPING", 1e-9)


def test_obs_is_the_growth_of_the_error_after_the_best_update(undamped):
    X, _, model = network(hidden=(), link="identity")
    X[:, 1] += X[:, 0]  # which can stand for each other in part
    step, (size,) = sizes("obs", model, X)
    rows, layer = step.fit.rows.astype(np.float64), model.layers[0]
    total = np.mean((rows @ layer.weight[0] + layer.bias[0]) ** 2)
    for j in range(5):
        _, error = least_squares(rows, layer, np.delete(np.arange(5), j))
        assert size[0, j] ** 2 * total == pytest.approx(error, rel=1e-4)


def test_obs_knows_what_goes_together(undamped):
    """A neuron by what the next layer loses, a feature or block by all of its weights at once."""
    X, _, model = network(hidden=(), link="identity")
    X[:, 1] += X[:, 0]
    X[:, 3] += X[:, 0]
    step = step_on(model, X)
    rows, layer = step.fit.rows.astype(np.float64), model.layers[0]
    total = np.mean((rows @ layer.weight[0] + layer.bias[0]) ** 2)
    group = np.array([0, 1, 0, 1, 2])
    found = METHODS["obs"](step).together(step.model, {0: group})[0]
    for own in range(3):
        _, error = least_squares(rows, layer, np.flatnonzero(group != own))
        assert found[0, own] * total == pytest.approx(error, rel=1e-4)
    units = units_of("feature", step.model, "l1", score=METHODS["obs"](step))
    single = METHODS["obs"](step).sizes(step.model)[0][0]
    np.testing.assert_allclose(units.norms()[0], single, rtol=1e-5)

    X, _, model = network(hidden=(4,), link="identity")
    step = step_on(model, X)
    (norm,) = units_of("neuron", step.model, "l1", score=METHODS["obs"](step)).norms()
    hidden, _ = model.layers[0].forward(step.fit.rows)
    last = model.layers[1]
    total = np.mean((hidden @ last.weight[0] + last.bias[0]) ** 2)
    for j in range(4):
        _, error = least_squares(hidden.astype(float), last, np.delete(np.arange(4), j))
        assert norm[j] ** 2 * total == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_obs_with_signs_is_bounded_least_squares(seed):
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(seed)
    k = int(rng.integers(3, 25))
    A = rng.normal(size=(200, 4)) @ rng.normal(size=(4, k)) + 0.3 * rng.normal(size=(200, k))
    b = A @ rng.normal(size=k) + rng.normal(size=200)
    sign = rng.choice([-1, 0, 1], k)
    moments, wanted = A.T @ A / 200, A.T @ b / 200
    found = _signed(moments, wanted, sign, np.linalg.solve(moments, wanted))
    bounds = np.where(sign > 0, 0, -np.inf), np.where(sign < 0, 0, np.inf)
    best = optimize.lsq_linear(A, b, bounds).x
    assert (found * sign >= 0).all()
    assert ((A @ found - b) ** 2).sum() < ((A @ best - b) ** 2).sum() * (1 + 1e-6)


def test_obs_leaves_weights_that_nothing_depends_on():
    """Of an input that is always 0: what stays is drawn to the weights that were, not to 0."""
    X, _, model = network(hidden=(), link="identity")
    X[:, 2] = 0
    step = step_on(model, X)
    obs, layer = METHODS["obs"](step), step.model.layers[0]
    old = layer.weight.copy()
    layer.set_mask(np.array([[False, True, True, True, True]]))
    obs.settle(step.model)
    assert layer.weight[0, 2] == pytest.approx(old[0, 2], rel=1e-6)
    assert (layer.weight[0, [1, 3, 4]] != old[0, [1, 3, 4]]).all()


def test_obs_drops_one_of_two_that_stand_for_each_other():
    """In rounds: before the first goes, neither seems to be worth anything."""
    X, _, model = network(hidden=(), link="identity")
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 2]
    model.layers[0].weight[0] = [2.0, 1.5, 3.0, 1.2, 1.0]
    small = farthing.prune(model, X, sparsity=0.4, method="obs", calibrate=False, random_state=0)
    stays = small.layers[0].weight[0] != 0
    assert stays.sum() == 3 and stays[:2].sum() == 1
    assert small.layers[0].weight[0, :2].sum() == pytest.approx(3.5, rel=0.05)


def test_obs_updates_in_a_schedule_what_stays():
    """Of so few rows hardly anything is learnt in training: the update does the work."""
    X, y = credit.data()
    model, few = credit.fitted(), (X[:200], y[:200])
    wanted = model.predict_proba(X)[:, 1]

    def off(method):
        small = farthing.prune(
            model, *few, sparsity=0.8, method=method, schedule="cubic", learning_rate=1e-6
        )
        return float(np.abs(small.predict_proba(X)[:, 1] - wanted).mean())

    assert off("obs") < 0.5 * off("magnitude")


def test_what_is_excluded_is_left_alone():
    """With a mask too; what a dict does not name only answers to what went before it."""
    X, y = credit.data()
    before = farthing.prune(credit.fitted((12, 8)), sparsity={"dense1": 0.3})
    for pattern in ("unstructured", "4x8"):
        arguments = {"method": "obs", "pattern": pattern}
        after = farthing.prune(before, X, y, sparsity=0.5, exclude=["dense1"], **arguments)
        old, new = (model.model_.layers[1] for model in (before, after))
        assert np.array_equal(old.weight, new.weight) and np.array_equal(old.mask, new.mask)
        after = farthing.prune(before, X, y, sparsity={"dense1": 0.6}, **arguments)
        first, last = ([m.model_.layers[i] for m in (before, after)] for i in (0, 2))
        assert np.array_equal(first[0].weight, first[1].weight) and first[1].mask is None
        assert not np.array_equal(last[0].weight, last[1].weight) and last[1].mask is None


def test_obs_refits_on_inputs_from_the_layers_before(undamped):
    X, _, model = network(hidden=(4,), link="identity")
    step = step_on(model, X)
    obs, (first, last) = METHODS["obs"](step), step.model.layers
    wanted = model.forward(step.fit.rows)[:, 0].astype(float)
    first.set_mask(np.arange(20).reshape(4, 5) % 3 > 0)
    obs.settle(step.model)
    hidden, _ = first.forward(step.fit.rows)
    A = np.column_stack([hidden, np.ones(len(hidden))]).astype(float)
    best = np.linalg.lstsq(A, wanted, rcond=None)[0]
    np.testing.assert_allclose(last.weight[0], best[:-1], rtol=1e-3, atol=1e-4)
    assert last.bias[0] == pytest.approx(best[-1], rel=1e-3, abs=1e-4)


def test_obs_of_blocks_adds_up_over_their_outputs():
    X, _, model = network(hidden=(5,), link="identity")
    step = step_on(model, X)
    obs = METHODS["obs"](step)
    (norm, _) = units_of("2x3", step.model, "l1", score=obs).norms()
    single = obs.together(step.model, {0: np.array([0, 0, 0, 1, 1])})[0]
    expected = [single[0:2].sum(axis=0), single[2:4].sum(axis=0), single[4:].sum(axis=0)]
    np.testing.assert_allclose(norm.reshape(3, 2) ** 2, expected, rtol=1e-5)


def test_the_last_drop_of_a_schedule_is_made_up_for_too():
    """Where training has one step, or Ctrl-C ended it, all of them go at its end."""
    X, y = credit.data()
    model, few = credit.fitted((16, 8)), (X[:16], y[:16])
    wanted = model.predict_proba(X)[:, 1]
    off = {}
    for method in ("obs", "magnitude"):
        options = {"schedule": "cubic", "epochs": 1, "augment": 0, "calibrate": False}
        small = farthing.prune(model, *few, pattern="1:2", method=method, **options)
        off[method] = float(np.abs(small.predict_proba(X)[:, 1] - wanted).mean())
    assert off["obs"] < 0.7 * off["magnitude"]


def test_obs_drops_no_twins_in_one_update_of_a_schedule():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 8)).astype(np.float32)
    X[:, 7] = X[:, 0] + 0.01 * X[:, 7]
    y = 0.4 * X[:, 0] + 0.4 * X[:, 7] + X[:, 1:7] @ [1, 0.9, 0.3, 0.2, 0.2, 0.1]
    model = farthing.Regressor((), encoder=None, random_state=0).fit(X, y)
    options = {"pattern": "feature", "sparsity": 0.6, "method": "obs", "epochs": 2}
    small = farthing.prune(model, X, y, schedule="cubic", learning_rate=1e-6, **options)
    weight = small.model_.layers[0].weight[0]
    assert (weight != 0).sum() == 3 and (weight[[0, 7]] != 0).sum() == 1
    assert weight[[0, 7]].sum() == pytest.approx(0.8, abs=0.05)


def test_obs_gives_what_stays_its_best_values(undamped):
    X, _, model = network(hidden=(), link="identity")
    X[:, 1] += X[:, 0]
    after = farthing.prune(model, X, sparsity=0.4, method="obs", calibrate=False, random_state=0)
    rows = step_on(model, X).fit.rows.astype(np.float64)
    kept = np.flatnonzero(after.layers[0].weight[0])
    assert len(kept) == 3
    w, error = least_squares(rows, model.layers[0], kept)
    np.testing.assert_allclose(after.layers[0].weight[0, kept], w[:-1], rtol=1e-3, atol=1e-3)
    assert after.layers[0].bias[0] == pytest.approx(w[-1], rel=1e-3, abs=1e-3)
    others = [
        least_squares(rows, model.layers[0], np.array([a, b, c]))[1]
        for a in range(5)
        for b in range(a)
        for c in range(b)
    ]
    assert error <= sorted(others)[1]  # greedy need not find the best, but nearly does here


def test_obs_beats_the_same_weights_without_an_update_and_magnitude():
    X, y = credit.data()
    before = credit.fitted()
    wanted = before.model_.forward(X.astype(np.float32))[:, 0]

    def error(model):
        return float(np.mean((model.model_.forward(X.astype(np.float32))[:, 0] - wanted) ** 2))

    for pattern in ("unstructured", "neuron", "8x4", "1:2", "feature"):
        share = None if pattern == "1:2" else 0.5
        arguments = {"sparsity": share, "pattern": pattern, "calibrate": False}
        obs = farthing.prune(before, X, y, method="obs", **arguments)
        plain = farthing.prune(before, X, y, **arguments)
        assert error(obs) < 0.7 * error(plain), pattern


def test_obs_keeps_zeros_and_equal_rows_share_a_refit():
    X, y = credit.data()
    first = farthing.prune(credit.fitted(), sparsity=0.5)
    after = farthing.prune(first, X, y, sparsity=0.8, method="obs")
    for old, new in zip(first.model_.layers, after.model_.layers, strict=True):
        assert not new.weight[old.weight == 0].any()
        assert np.array_equal(new.weight != 0, new.mask)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", ["unstructured", "8x4", "1:2", "neuron", "feature"])
def test_every_score_takes_every_pattern(method, pattern):
    X, y = credit.data()
    share = None if pattern == "1:2" else 0.4
    after = farthing.prune(credit.fitted(), X, y, sparsity=share, pattern=pattern, method=method)
    sizes = [layer.weight.size for layer in credit.fitted().model_.layers]
    left = sum(int((layer.weight != 0).sum()) for layer in after.model_.layers)
    assert left < 0.85 * sum(sizes)
    assert np.isfinite(after.predict_proba(X)).all()
    again = farthing.prune(credit.fitted(), X, y, sparsity=share, pattern=pattern, method=method)
    assert np.array_equal(after.predict_proba(X), again.predict_proba(X))


def test_random_merges_as_many_bins_as_asked():
    model = credit.fitted()
    bins = model.model_.encoder.bins_
    inner = int(np.maximum(bins - 1, 0).sum())
    for seed in (0, 1):
        arguments = {"sparsity": 0.5, "pattern": "bin", "random_state": seed}
        after = farthing.prune(model, method="random", **arguments).model_.encoder.bins_
        assert np.maximum(after - 1, 0).sum() == inner - round(0.5 * inner)
        assert not np.array_equal(after, farthing.prune(model, **arguments).model_.encoder.bins_)


def test_random_goes_by_the_seed_and_keeps_its_order():
    model = credit.fitted()
    masks = {}
    for seed in (0, 1):
        for share in (0.3, 0.6):
            after = farthing.prune(model, sparsity=share, method="random", random_state=seed)
            masks[seed, share] = np.concatenate([la.mask.ravel() for la in after.model_.layers])
    assert not (masks[0, 0.6] & ~masks[0, 0.3]).any()
    assert (masks[0, 0.3] != masks[1, 0.3]).any()


# ---- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(DATA_FREE)))
def test_scores_that_need_data_say_so(method):
    with pytest.raises(ValueError, match=f"X must be given: method='{method}' needs rows"):
        farthing.prune(credit.fitted(), sparsity=0.5, method=method)


def test_taylor_needs_labels():
    X, _ = credit.data()
    with pytest.raises(ValueError, match="y must be given: method='taylor' needs labels, got None"):
        farthing.prune(credit.fitted(), X, sparsity=0.5, method="taylor")


def test_unknown_methods_and_what_a_method_cannot_do_are_refused():
    X, y = credit.data()
    with pytest.raises(ValueError, match="method must be one of 'magnitude', 'random'"):
        farthing.prune(credit.fitted(), sparsity=0.5, method="movement")
    with pytest.raises(ValueError, match="method must be 'magnitude' or 'random' for pattern 'b"):
        farthing.prune(credit.fitted(), X, y, sparsity=0.5, method="obs", pattern="bin")
    quantized = farthing.quantize(credit.fitted(), X)
    with pytest.raises(ValueError, match="'obs' needs float weights, which it updates"):
        farthing.prune(quantized, X, y, sparsity=0.5, method="obs")


# ---- targets of any unit ------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [None, "cubic"])
@pytest.mark.parametrize("method", ["magnitude", "wanda", "obs", "fisher", "taylor"])
def test_scores_do_not_depend_on_the_unit_of_y(method, schedule):
    """Of a regressor the last layer's weights are in it; how many stay there is not."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 4))
    y = 2 * X[:, 0] + np.sin(2 * X[:, 1]) + 0.3 * rng.standard_t(2, len(X)) + 5
    kept = {}
    for unit in (1.0, 1000.0, 0.001):
        model = farthing.Regressor((16,), loss="huber", max_epochs=4, random_state=0)
        model = model.fit(X, unit * y)
        options = {} if schedule is None else {"schedule": schedule, "epochs": 2, "augment": 0}
        small = farthing.prune(model, X, unit * y, sparsity=0.8, method=method, **options)
        kept[unit] = int((small.model_.layers[1].weight != 0).sum())
    assert kept[1.0] > 2
    assert max(kept.values()) - min(kept.values()) <= 2, kept


def test_exclude_none_is_named():
    with pytest.raises(TypeError, match="exclude must be a list of names of layers, got None"):
        farthing.prune(credit.fitted(), sparsity=0.5, exclude=None)
