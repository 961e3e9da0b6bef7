import numpy as np
import pytest

from farthing import FarthingError
from farthing.encoding import PiecewiseLinearEncoder, Standardizer
from farthing.losses import binary_cross_entropy
from farthing.model import Model
from farthing.targets import Values
from farthing.training import train


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


def watch():
    """A list, and the callback that notes the steps and the type they are made in."""
    seen = []
    return seen, lambda step, total, given: seen.append((total, given.layers[0].weight.dtype))


@pytest.mark.parametrize(
    "fields",
    [{}, {"batch_norm": True}, {"activation": "gelu", "residual": True}, {"hidden": ()}],
    ids=["plain", "normalised", "residual", "linear"],
)
@pytest.mark.parametrize("loss", ["binary", "squared"])
def test_integer_weights_are_repeated_rows_in_full_batches(fields, loss, rng):
    X, y = task(rng, 300)
    target = y if loss == "binary" else y + X[:, 0]
    weight = rng.integers(0, 4, 300)
    answers = []
    for rows, repeat in ((np.arange(300), False), (np.repeat(np.arange(300), weight), True)):
        encoder = PiecewiseLinearEncoder().fit(X)
        hidden = fields.get("hidden", (16, 16))
        model = Model.build(encoder, hidden, **{k: v for k, v in fields.items() if k != "hidden"})
        seen, on_step = watch()
        history = train(
            model,
            X[rows],
            target[rows],
            loss=loss,
            sample_weight=None if repeat else weight,
            full_batch=True,
            on_step=on_step,
            weight_decay=0.1,
            max_epochs=4,
        )
        assert seen == [(256, np.float64)] * 256
        assert all(a.dtype == np.float32 for a in parameters(model))
        answers.append((model.forward(X), history.train_loss))
    np.testing.assert_allclose(answers[0][0], answers[1][0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(answers[0][1], answers[1][1], rtol=1e-9)
    assert answers[0][1][-1] < 0.9 * answers[0][1][0]


def test_full_batches_stop_early_and_have_no_order(rng):
    X, y = task(rng)
    noise = rng.integers(0, 2, 600).astype(np.float32)
    models = [fresh(X) for _ in range(2)]
    for seed, model in enumerate(models):
        history = train(
            model,
            X,
            y,
            full_batch=True,
            validation=(X, noise, None),
            patience=2,
            dropout=0.0,
            seed=seed,
        )
        assert history.best_epoch == int(np.argmin(history.validation_loss)) < 13
        assert history.epochs == history.best_epoch + 3
    assert same(parameters(models[0]), parameters(models[1]))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_full_batches_of_a_wide_encoding_are_expanded_in_pieces(batch_norm, monkeypatch, rng):
    X, y = task(rng, 2500)
    models = [fresh(X, batch_norm=batch_norm) for _ in range(2)]
    train(models[0], X, y, full_batch=True, max_epochs=1)
    monkeypatch.setattr("farthing.sampling.EXPANDED_BYTES", 1)
    train(models[1], X, y, full_batch=True, max_epochs=1)
    for ours, theirs in zip(*map(parameters, models), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_strata_are_in_every_minibatch(rng):
    X, _ = task(rng, 2000)
    y = np.zeros(2000, np.float32)
    y[:20] = 1
    seen = []

    def loss(z, target, weight):
        seen.append(int(target.sum()))
        return binary_cross_entropy(z, target, weight)

    strata = y.astype(int)
    train(fresh(X), X, y, loss=loss, strata=strata, batch_size=100, max_epochs=2)
    assert seen == [1] * 40
    with pytest.raises(FarthingError, match="strata: got shape"):
        train(fresh(X), X, y, strata=strata[:5])


def test_a_callback_stops_training(rng):
    X, y = task(rng)
    model, seen = fresh(X), []

    def progress(report):
        seen.append([a.copy() for a in parameters(model)])
        return report["epoch"] == 3

    history = train(model, X, y, validation=(X, 1 - y, None), progress=progress)
    assert history.stopped and not history.interrupted
    assert history.epochs == 3 and history.best_epoch == 0
    assert same(parameters(model), seen[0])
    assert not train(fresh(X), X, y, max_epochs=1).stopped


def test_training_goes_on_from_the_parameters_it_finds(rng):
    X, y = task(rng)
    model = fresh(X)
    first = train(model, X, y)
    kept = [a.copy() for a in parameters(model)]
    more = train(model, X, y, max_epochs=1, learning_rate=1e-4)
    assert more.train_loss[0] < 0.7 * first.train_loss[0]
    for before, after in zip(kept, parameters(model), strict=True):
        assert 0 < np.abs(before - after).max() < 0.01


def test_trained_layers_own_their_arrays(rng):
    X, y = task(rng, 100)
    model = fresh(X)
    train(model, X, y, max_epochs=1)
    assert all(a.flags.owndata for a in parameters(model))


@pytest.mark.parametrize("full_batch", [False, True])
def test_batch_normalisation_is_folded(full_batch, rng):
    """What the last epoch was judged by is what the folded model answers."""
    X, y = task(rng)
    model = fresh(X * 50, (16, 8), batch_norm=True)
    mask = rng.random((16, model.encoder.width)) < 0.6
    model.layers[0].set_mask(mask)
    assert [layer.norm is None for layer in model.layers] == [False, False, True]
    seen = []

    def progress(report):
        assert model.layers[0].norm is not None
        seen.append(model.forward(X * 50))

    history = train(
        model,
        X * 50,
        y,
        validation=(X * 50, y, None),
        progress=progress,
        full_batch=full_batch,
        max_epochs=6,
    )
    assert all(layer.norm is None for layer in model.layers)
    np.testing.assert_allclose(model.forward(X * 50), seen[history.best_epoch], atol=2e-5)
    assert not model.layers[0].weight[~mask].any()
    assert ((model.forward(X * 50)[:, 0] > 0) == y).mean() > 0.8


def test_batch_normalisation_needs_two_rows(rng):
    X, y = task(rng)
    with pytest.raises(FarthingError, match="batch_size: got 1 with batch normalisation"):
        train(fresh(X, batch_norm=True), X, y, batch_size=1)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "silu", "gelu"])
@pytest.mark.parametrize("extra", [{}, {"residual": True, "batch_norm": True}])
def test_every_activation_learns(activation, extra, rng):
    X, y = task(rng)
    model = fresh(X, (16, 16), activation=activation, **extra)
    train(model, X, y, learning_rate=0.01)
    assert ((model.forward(X)[:, 0] > 0) == y).mean() > 0.85
