from itertools import pairwise

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from farthing import FarthingError
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.layers import Dense
from farthing.losses import binary_cross_entropy, squared_error
from farthing.model import Model
from farthing.targets import Values
from farthing.training import (
    Adam,
    draw_seed,
    gradients,
    one_cycle,
    split_search,
    train,
)


def network(rng, sizes=(5, 7, 4, 2)):
    return [
        Dense(
            f"dense{i}",
            rng.normal(size=(n, k)),
            rng.normal(size=n),
            "linear" if i == len(sizes) - 2 else "relu",
        )
        for i, (k, n) in enumerate(pairwise(sizes))
    ]


def bce_in_autograd(z, target, weight):
    loss = anp.logaddexp(0, z) - target * z
    return anp.mean(loss * weight[:, None])


def squared_in_autograd(z, target, weight):
    return anp.mean(0.5 * (z - target) ** 2 * weight[:, None])


@pytest.mark.parametrize(
    ("loss", "reference"),
    [(binary_cross_entropy, bce_in_autograd), (squared_error, squared_in_autograd)],
    ids=["binary", "squared"],
)
def test_gradients_equal_autograd_and_finite_differences(loss, reference, rng):
    layers = network(rng)
    x, target, weight = rng.normal(size=(9, 5)), rng.random((9, 2)), rng.random(9)
    value, ours = gradients(layers, x, target, weight, loss)

    def forward(parameters):
        y = x
        for i, (w, b) in enumerate(parameters):
            y = anp.dot(y, w.T) + b
            if i < len(parameters) - 1:
                y = anp.maximum(y, 0)
        return reference(y, target, weight)

    parameters = [(layer.weight, layer.bias) for layer in layers]
    assert value == pytest.approx(forward(parameters), rel=1e-12)
    for own, theirs in zip(ours, autograd.grad(forward)(parameters), strict=True):
        np.testing.assert_allclose(own["weight"], theirs[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(own["bias"], theirs[1], rtol=1e-9, atol=1e-12)
    step = 1e-6
    for layer, gradient in zip(layers, ours, strict=True):
        for name, array in (("weight", layer.weight), ("bias", layer.bias)):
            i = np.unravel_index(np.abs(gradient[name]).argmax(), array.shape)
            kept = array[i]
            array[i] = kept + step
            up = gradients(layers, x, target, weight, loss)[0]
            array[i] = kept - step
            down = gradients(layers, x, target, weight, loss)[0]
            array[i] = kept
            assert gradient[name][i] == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_gradients_with_dropout_are_those_of_the_thinned_network(rng):
    """The same draw of units twice: the loss moves as the gradient says."""
    layers = network(rng)
    x, target = rng.normal(size=(9, 5)), rng.random((9, 2))

    def run():
        return gradients(layers, x, target, None, squared_error, 0.5, np.random.default_rng(5))

    _, gradient = run()
    direction = [rng.normal(size=layer.weight.shape) for layer in layers]
    slope = sum((g["weight"] * d).sum() for g, d in zip(gradient, direction, strict=True))
    values = []
    for step in (1e-6, -2e-6):
        for layer, d in zip(layers, direction, strict=True):
            layer.weight += step * d
        values.append(run()[0])
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_dropout_keeps_the_expected_activation():
    layers = [
        Dense("dense0", np.ones((20_000, 1)), np.zeros(20_000)),
        Dense("dense1", np.full((1, 20_000), 1 / 20_000), np.zeros(1), "linear"),
    ]
    seen = []

    def spy(z, target, weight):
        seen.append(z.item())
        return squared_error(z, target, weight)

    gradients(layers, np.ones((1, 1)), np.ones((1, 1)), None, spy, 0.3, np.random.default_rng(0))
    assert seen[0] == pytest.approx(1, abs=0.02) and seen[0] != 1


def test_adam_is_the_algorithm_of_the_paper(rng):
    layer = Dense("dense0", rng.normal(size=(3, 2)), rng.normal(size=3))
    weight, bias = layer.weight.copy(), layer.bias.copy()
    m, v = np.zeros_like(weight), np.zeros_like(weight)
    mb, vb = np.zeros_like(bias), np.zeros_like(bias)
    adam = Adam([layer], weight_decay=0.1)
    for t in range(1, 6):
        g, gb = rng.normal(size=weight.shape), rng.normal(size=bias.shape)
        adam.step([{"weight": g, "bias": gb}], 0.01)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        mb, vb = 0.9 * mb + 0.1 * gb, 0.999 * vb + 0.001 * gb**2
        fix, fix2 = 1 - 0.9**t, 1 - 0.999**t
        weight -= 0.01 * 0.1 * weight
        weight -= 0.01 * (m / fix) / (np.sqrt(v / fix2) + 1e-8)
        bias -= 0.01 * (mb / fix) / (np.sqrt(vb / fix2) + 1e-8)
    np.testing.assert_allclose(layer.weight, weight, rtol=1e-12)
    np.testing.assert_allclose(layer.bias, bias, rtol=1e-12)


@pytest.mark.parametrize("total", [1, 2, 9, 1000])
def test_one_cycle_rises_once_and_falls_towards_zero(total):
    rates = np.array([one_cycle(step, total) for step in range(total)])
    peak = rates.argmax()
    assert ((rates > 0) & (rates <= 1)).all() and rates.max() == 1
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) <= 0).all()
    assert total < 1000 or (peak == 99 and rates[-1] < 1e-4)


def task(rng, n=600):
    X = rng.normal(size=(n, 3)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=n) > 0).astype(np.float32)
    return X, y


def fresh(X, hidden=(16,), seed=0, **fields):
    return Model.build(PiecewiseLinearEncoder().fit(X), hidden, seed=seed, **fields)


def parameters(model):
    return [a for layer in model.layers for a in (layer.weight, layer.bias)]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_train_learns_and_repeats_to_the_bit(rng):
    X, y = task(rng)
    results = []
    for seed in (1, 1, 2):
        model = fresh(X)
        history = train(model, X, y, seed=seed)
        results.append(parameters(model))
    assert history.epochs == 16 and history.best_epoch == 15 and not history.interrupted
    assert history.train_loss[-1] < 0.6 * history.train_loss[0]
    assert ((model.forward(X)[:, 0] > 0) == y).mean() > 0.85
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_train_works_in_double_precision_and_with_several_outputs(rng):
    X, y = task(rng)
    model = fresh(X, n_outputs=2)
    for layer in model.layers:
        layer.weight, layer.bias = layer.weight.astype(float), layer.bias.astype(float)
    history = train(model, X, np.column_stack([y, 1 - y]))
    assert all(a.dtype == np.float64 for a in parameters(model))
    assert history.train_loss[-1] < 0.6 * history.train_loss[0]


def test_a_loss_of_ones_own_reads_its_own_targets(rng):
    X, y = task(rng)

    def first_of_two(z, target, weight):
        assert target.shape[1] == 2
        return binary_cross_entropy(z, target[:, :1], weight)

    ours, plain = fresh(X), fresh(X)
    train(ours, X, np.column_stack([y, 1 - y]), loss=first_of_two, max_epochs=2)
    train(plain, X, y, max_epochs=2)
    assert same(parameters(ours), parameters(plain))


def test_best_epoch_is_restored(rng):
    X, _ = task(rng)
    noise, other = rng.integers(0, 2, (2, 600)).astype(np.float32)
    model, seen = fresh(X, hidden=(64, 32)), []
    history = train(
        model,
        X,
        noise,
        validation=(X, other, None),
        learning_rate=0.01,
        max_epochs=30,
        patience=4,
        progress=lambda report: seen.append([a.copy() for a in parameters(model)]),
    )
    assert history.best_epoch == int(np.argmin(history.validation_loss))
    assert history.epochs == history.best_epoch + 5 < 30
    assert same(parameters(model), seen[history.best_epoch])
    assert not same(parameters(model), seen[-1])


def test_min_epochs_bars_the_earlier_ones(rng):
    X, y = task(rng)
    model = fresh(X)
    history = train(
        model, X, y, validation=(X, 1 - y, None), max_epochs=8, min_epochs=5, patience=1
    )
    assert history.validation_loss[0] == min(history.validation_loss)
    assert history.best_epoch == 5 and history.epochs == 7


def test_validation_loss_is_that_of_the_model(rng):
    X, y = task(rng, n=5000)
    weight = rng.random(5000)
    model = fresh(X)
    history = train(model, X[:500], y[:500], validation=(X, y, weight), max_epochs=2)
    loss, _ = binary_cross_entropy(model.forward(X), y[:, None], weight / weight.mean())
    assert min(history.validation_loss) == pytest.approx(loss, rel=1e-5)


def test_weights_decide_what_is_learnt(rng):
    """Rows of weight 0 carry the opposite labels and change nothing."""
    X, y = task(rng)
    both, labels = np.concatenate([X, X]), np.concatenate([y, 1 - y])
    weight = np.repeat([1.0, 0.0], 600)
    model = fresh(X)
    train(model, both, labels, sample_weight=weight)
    assert ((model.forward(X)[:, 0] > 0) == y).mean() > 0.9
    scaled = fresh(X)
    train(scaled, both, labels, sample_weight=weight * 8)
    assert same(parameters(model), parameters(scaled))


def test_masks_that_change_while_training_hold(rng):
    X, y = task(rng)
    model = fresh(X)
    first = model.layers[0]
    steps = []

    def on_step(step, total_steps, given):
        assert given is model
        steps.append((step, total_steps))
        if step == 40:
            first.mask = rng.random(first.weight.shape) < 0.5
        elif step == 80:
            first.mask &= rng.random(first.weight.shape) < 0.5
        elif first.mask is not None:
            assert not first.weight[~first.mask].any()

    history = train(model, X, y, on_step=on_step, max_epochs=4, batch_size=16, weight_decay=0.1)
    assert steps == [(i, 152) for i in range(152)]
    assert not first.weight[~first.mask].any()
    assert first.weight[first.mask].all()
    assert history.train_loss[-1] < history.train_loss[0]


def test_restored_parameters_respect_the_final_mask(rng):
    X, y = task(rng)
    model = fresh(X)
    first = model.layers[0]

    def on_step(step, total_steps, _):
        if step == total_steps // 2:
            first.mask = rng.random(first.weight.shape) < 0.5

    opposite = (X, 1 - y, None)
    history = train(model, X, y, validation=opposite, on_step=on_step, max_epochs=16)
    assert history.best_epoch == 0 and history.epochs == 9
    assert not first.weight[~first.mask].any()


@pytest.mark.parametrize("validated", [False, True])
def test_interruption_keeps_the_best_so_far(validated, rng):
    X, y = task(rng)
    model, seen = fresh(X), []

    def progress(report):
        seen.append([a.copy() for a in parameters(model)])
        if report["epoch"] == 3:
            raise KeyboardInterrupt

    validation = (X, y, None) if validated else None
    history = train(model, X, y, validation=validation, progress=progress)
    assert history.interrupted and history.epochs == 3
    assert same(parameters(model), seen[history.best_epoch])


def test_interruption_in_the_first_epoch(rng):
    X, y = task(rng)

    def on_step(step, total_steps, model):
        raise KeyboardInterrupt

    history = train(fresh(X), X, y, on_step=on_step)
    assert history.interrupted and history.epochs == 0 and history.best_epoch is None


def test_progress_reports_every_epoch(rng):
    X, y = task(rng)
    reports = []
    history = train(fresh(X), X, y, max_epochs=2, progress=reports.append)
    assert reports == [
        {"epoch": i + 1, "max_epochs": 2, "loss": loss, "validation_loss": None}
        for i, loss in enumerate(history.train_loss)
    ]


def test_input_amax_trains_on_the_grid(rng):
    X, y = task(rng)
    model, plain = fresh(X), fresh(X)
    seen = []

    def positions(rows, amax=None):
        seen.append(amax)
        return PiecewiseLinearEncoder.positions(model.encoder, rows, amax)

    model.encoder.positions = positions
    train(model, X, y, input_amax=127, validation=(X, y, None), max_epochs=2)
    train(plain, X, y, validation=(X, y, None), max_epochs=2)
    assert seen == [127, 127]
    assert not same(parameters(model), parameters(plain))


def test_auto_learning_rate_fits_a_linear_model(rng):
    X = rng.normal(size=(4000, 3)) * [1, 10, 0.1] + 5
    target = 3 * X[:, 0] - 0.4 * X[:, 1] + 20 * X[:, 2] + 1000
    model = Model.build(Standardizer().fit(X), (), link="identity")
    with Values("squared").scaled(model, target) as scaled:
        train(model, X, scaled(target), loss="squared")
    error = model.forward(X)[:, 0] - target
    assert error.std() < 0.01 * target.std() and abs(error.mean()) < 0.01 * target.std()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": np.zeros(5)}, r"X: got targets of shape \(5,\), allowed is \(600, 1\)"),
        ({"target": np.full(600, np.nan)}, "X: got infinite or NaN targets"),
        ({"X": np.zeros((600, 2))}, "got 2 features, allowed are 3"),
        ({"X": np.zeros((0, 3)), "target": np.zeros(0)}, "X: got no rows"),
        ({"sample_weight": np.zeros(600)}, "X: got negative, infinite or NaN weights or only"),
        ({"sample_weight": np.ones(3)}, r"X: weights have shape \(3,\)"),
        ({"validation": (np.zeros((2, 3)), np.zeros(3), None)}, "validation: got targets"),
        ({"loss": "hinge"}, "loss must be one of .* got 'hinge'"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"patience": 0}, "patience"),
        ({"min_epochs": -1}, "min_epochs"),
    ],
)
def test_train_refuses(changes, message, rng):
    X, y = task(rng)
    arguments = {"X": X, "target": y} | changes
    with pytest.raises(ValueError, match=message):
        train(fresh(X), **arguments)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_a_loss_that_becomes_infinite_is_an_error(rng):
    X, y = task(rng)
    with pytest.raises(FarthingError, match=r"learning_rate: got 1e\+20"):
        train(fresh(X, link="identity"), X, y, loss="squared", learning_rate=1e20)


def test_split_is_stratified_and_repeats(rng):
    y = np.repeat([0, 1], [9950, 50])
    fit, search = split_search(10_000, y, seed=3)
    assert len(search) == 1000 and y[search].sum() == 5
    assert np.array_equal(np.sort(np.concatenate([fit, search])), np.arange(10_000))
    assert np.array_equal(split_search(10_000, y, seed=3)[1], search)
    assert not np.array_equal(split_search(10_000, y, seed=4)[1], search)


def test_split_of_few_rows_has_no_search_part():
    fit, search = split_search(999, np.zeros(999))
    assert len(fit) == 999 and len(search) == 0


def test_split_of_a_continuous_target_is_plain(rng):
    _, search = split_search(2000, rng.normal(size=2000))
    assert len(search) == 200


def test_split_keeps_groups_whole_and_shares_near(rng):
    groups = rng.zipf(1.5, 5000) % 700
    y = (rng.random(5000) < 0.2 + 0.3 * (groups % 2)).astype(int)
    fit, search = split_search(5000, y, groups, seed=0)
    assert not set(groups[fit]) & set(groups[search])
    assert np.array_equal(np.sort(np.concatenate([fit, search])), np.arange(5000))
    for value in (0, 1):
        assert (y[search] == value).sum() == pytest.approx(0.1 * (y == value).sum(), rel=0.1)
    assert len(split_search(5000, y, np.zeros(5000), seed=0)[1]) == 0


@pytest.mark.parametrize("groups", [None, np.arange(5000) // 10])
def test_search_part_is_a_tenth_of_the_rows_of_positive_weight(groups):
    weight = np.arange(5000) % 3 == 0
    fit, search = split_search(5000, groups=groups, weight=weight)
    assert np.array_equal(np.union1d(fit, search), np.arange(5000))
    assert weight[search].sum() == pytest.approx(167, abs=2)
    assert groups is not None or weight[search].all()
    for counted, rows in ((999, 0), (1000, 100)):
        assert len(split_search(5000, weight=np.arange(5000) < counted)[1]) == rows


def test_search_part_exists_from_the_fewest_rows_asked_for():
    assert len(split_search(100, min_rows=100)[1]) == 10
    assert len(split_search(99, min_rows=100)[1]) == 0


def test_draw_seed():
    assert draw_seed(5) == draw_seed(np.int64(5)) == 5
    assert draw_seed(None) != draw_seed(None)
    for generator in (np.random.default_rng, np.random.RandomState):
        assert draw_seed(generator(1)) == draw_seed(generator(1)) != draw_seed(generator(2))
    with pytest.raises(FarthingError, match="random_state: got -1"):
        draw_seed(-1)
    with pytest.raises(TypeError, match="random_state: got str"):
        draw_seed("seed")
