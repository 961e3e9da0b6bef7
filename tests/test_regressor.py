"""Losses of a regressor and its exact solver."""

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor, Ridge
from sklearn.preprocessing import StandardScaler

import farthing

QUICK = {"hidden": (16,), "random_state": 0}
MEANS = ["poisson", "gamma"]


def rows(n=6000, seed=0):
    """X (n, 3) and a smooth signal (n,)."""
    X = np.random.default_rng(seed).normal(size=(n, 3))
    return X, np.sin(1.5 * X[:, 0]) + 0.5 * X[:, 1] ** 2


def counts(n=8000, seed=0):
    """X (n, 3), a positive mean (n,) and draws around it: Poisson and gamma."""
    X, signal = rows(n, seed)
    mean = np.exp(0.5 * np.minimum(signal, 1.5) + 0.5)
    rng = np.random.default_rng(seed + 100)
    return X, mean, {"poisson": rng.poisson(mean) * 1.0, "gamma": rng.gamma(2, mean / 2)}


# ---- medians and quantiles ------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.1, 0.9])
@pytest.mark.parametrize("scale", [1, 1e5])
def test_a_quantile_covers_its_share_of_rows_nothing_has_seen(level, scale):
    X, signal = rows(16000)
    spread = np.exp(0.4 * X[:, 2])
    y = scale * (signal + spread * np.random.default_rng(1).normal(size=16000) + 20)
    model = farthing.Regressor(loss="quantile", quantile=level, **QUICK).fit(X[:8000], y[:8000])
    below = y[8000:] <= model.predict(X[8000:])
    assert level - 0.02 < below.mean() < level + 0.02
    for half in (X[8000:, 2] < 0, X[8000:, 2] >= 0):  # not in the mean alone
        assert level - 0.04 < below[half].mean() < level + 0.04


def test_absolute_and_huber_beat_squared_under_heavy_tails():
    X, signal = rows(8000)
    y = signal + 0.3 * np.random.default_rng(1).standard_t(1.5, 8000)
    error = {}
    for loss in ("squared", "absolute", "huber"):
        model = farthing.Regressor(loss=loss, huber_delta=0.1, **QUICK).fit(X[:4000], y[:4000])
        error[loss] = np.abs(model.predict(X[4000:]) - y[4000:]).mean()
        error["signal", loss] = np.abs(model.predict(X[4000:]) - signal[4000:]).mean()
    for loss in ("absolute", "huber"):
        assert error[loss] < error["squared"]
        # The prior of its calibration has brought squared error nearer; these stay where they are.
        assert error["signal", loss] < min(0.13, 0.6 * error["signal", "squared"])


def test_huber_lies_between_mean_and_median():
    X, _ = rows()
    y = np.random.default_rng(1).exponential(1, 6000)
    linear = {"hidden": (), "encoder": None, "random_state": 0}
    level = {
        delta: farthing.Regressor(loss="huber", huber_delta=delta, **linear).fit(X, y).intercept_
        for delta in (0.05, 1.0, 20.0)
    }
    assert level[0.05] == pytest.approx(np.median(y), abs=0.06)
    assert level[20] == pytest.approx(y.mean(), abs=0.06)
    assert level[0.05] < level[1] < level[20]


@pytest.mark.parametrize("loss", ["absolute", "quantile", "huber"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_level_is_recalibrated_on_the_search_part(loss, weighted):
    X, signal = rows()
    y = signal + np.random.default_rng(1).standard_t(3, 6000)
    weight = np.random.default_rng(2).uniform(0, 2, 2000) if weighted else None
    part = (X[4000:], y[4000:] + 1, weight)
    plain, calibrated = (
        farthing.Regressor(loss=loss, quantile=0.8, calibrate=calibrate, max_epochs=2, **QUICK).fit(
            X[:4000], y[:4000], eval_set=part
        )
        for calibrate in (False, True)
    )
    shift = calibrated.predict(X).astype(float) - plain.predict(X)
    np.testing.assert_allclose(shift, shift.mean(), atol=1e-5)
    above = (part[1] - calibrated.predict(X[4000:])) > 0
    if loss != "huber":
        share = np.average(above, weights=weight)
        assert share == pytest.approx({"absolute": 0.5, "quantile": 0.2}[loss], abs=0.002)
    assert shift.mean() > 0.5


@pytest.mark.parametrize("loss", ["absolute", "huber", "quantile"])
def test_offset_and_unit_of_y_change_nothing_but_offset_and_unit(loss, tmp_path):
    X, signal = rows(3000)
    y = signal + np.random.default_rng(1).normal(size=3000)
    model = farthing.Regressor(loss=loss, quantile=0.7, max_epochs=4, **QUICK)
    first = model.fit(X, y).predict(X)
    other = model.fit(X, 1e5 * y + 1e6).predict(X)
    np.testing.assert_allclose((other - 1e6) / 1e5, first, atol=0.05)
    assert model.score(X, 1e5 * y + 1e6) == pytest.approx(
        1 - np.mean((1e5 * y + 1e6 - other) ** 2) / np.var(1e5 * y), rel=1e-4
    )
    model.save(tmp_path / "m.farthing")
    assert np.array_equal(farthing.load(tmp_path / "m.farthing").predict(X), other)


# ---- means ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", MEANS)
@pytest.mark.parametrize("scale", [1e-3, 1, 1e6])
def test_means_are_met_and_positive(loss, scale, tmp_path):
    X, mean, drawn = counts(16000)
    y = drawn[loss] * scale
    model = farthing.Regressor(loss=loss, **QUICK).fit(X[:12000], y[:12000])
    value = model.predict(X)
    assert (value > 0).all()
    assert value[:12000].mean() == pytest.approx(y[:12000].mean(), rel=0.02)
    assert value[12000:].mean() == pytest.approx(y[12000:].mean(), rel=0.02)
    assert np.corrcoef(np.log(value[12000:]), np.log(mean[12000:]))[0, 1] > 0.95
    assert np.isfinite(model.score(X, y)) and model.score(X, mean * scale) > 0.9
    model.save(tmp_path / "m.farthing")
    assert np.array_equal(farthing.load(tmp_path / "m.farthing").predict(X), value)


@pytest.mark.parametrize("loss", MEANS)
def test_means_agree_with_the_logarithm_below_the_link(loss):
    X, _, drawn = counts(2000)
    model = farthing.Regressor(loss=loss, max_epochs=3, **QUICK).fit(X, drawn[loss])
    assert model.model_.link == "log"
    z = model.model_.forward(X.astype(np.float32))[:, 0].astype(float)
    np.testing.assert_allclose(model.predict(X), np.exp(z), rtol=1e-5)


def test_a_linear_poisson_model_is_the_generalized_linear_one():
    X, _, drawn = counts()
    y = drawn["poisson"]
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    model = farthing.Regressor(
        hidden=(), encoder=None, loss="poisson", l2=0, max_epochs=60, random_state=0,
        early_stopping=False,
    ).fit(X, y, weight)  # fmt: skip
    theirs = PoissonRegressor(alpha=0, tol=1e-10).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=0.01)
    assert model.intercept_ == pytest.approx(theirs.intercept_, abs=0.01)


@pytest.mark.parametrize(("loss", "bits"), [("poisson", 8), ("gamma", 4)])
def test_steps_keep_a_mean(loss, bits):
    X, _, drawn = counts(4000)
    y = drawn[loss]
    model = farthing.Regressor(loss=loss, **QUICK).fit(X, y)
    said = np.log(model.predict(X))
    for alpha in (1.0, 0.5):
        small = farthing.prune(model, X, y, sparsity=0.5, schedule="cubic", alpha=alpha)
        small = farthing.quantize(small, X, y, training="qat", weight_bits=bits, alpha=alpha)
        value = small.predict(X)
        assert np.corrcoef(np.log(value), said)[0, 1] > 0.98
        assert value.mean() == pytest.approx(np.exp(said).mean(), rel=0.02)
    bare = farthing.quantize(model.model_, X, y, training="qat", alpha=0.5)
    assert bare.link == "log"
    assert np.corrcoef(bare.forward(X)[:, 0], said)[0, 1] > 0.97
    if loss == "poisson":
        with pytest.raises(ValueError, match="y must not be negative behind the link 'log'"):
            farthing.quantize(model.model_, X, y - 1, training="qat")


@pytest.mark.parametrize("loss", MEANS)
def test_a_student_learns_a_mean(loss):
    X, _, drawn = counts()
    y = drawn[loss]
    teacher = farthing.Regressor(loss=loss, **QUICK).fit(X, y)
    student = farthing.Regressor(loss=loss, hidden=(8,), random_state=0)
    for known in (y, None):
        small = farthing.distill(teacher, X, known, student=student)
        said = np.log(teacher.predict(X))
        assert np.corrcoef(np.log(small.predict(X)), said)[0, 1] > 0.97
        assert small.predict(X).mean() == pytest.approx(np.exp(said).mean(), rel=0.04)
    wrong = {"poisson": -1.0, "gamma": 0.0}[loss]
    with pytest.raises(ValueError, match="the teacher's answer must be"):
        farthing.distill(np.where(np.arange(8000) == 3, wrong, y), X, student=student)


# ---- robust losses in the steps and in distillation -----------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_steps_keep_a_quantile(alpha):
    X, signal = rows(4000)
    y = signal + np.random.default_rng(1).normal(size=4000)
    model = farthing.Regressor(loss="quantile", quantile=0.9, **QUICK).fit(X, y)
    small = farthing.prune(model, X, y, sparsity=0.5, schedule="cubic", alpha=alpha)
    small = farthing.quantize(small, X, y, training="qat", weight_bits=4, alpha=alpha)
    assert np.corrcoef(small.predict(X), model.predict(X))[0, 1] > 0.98
    assert np.mean(y <= small.predict(X)) == pytest.approx(0.9, abs=0.02)


def test_y_is_learnt_by_the_own_loss_in_a_step():
    X, signal = rows(4000)
    y = signal + np.random.default_rng(1).exponential(1, 4000)
    model = farthing.Regressor(loss="absolute", max_epochs=1, **QUICK).fit(X, y + 5)
    options = {"training": "qat", "alpha": 0.0, "epochs": 30, "learning_rate": 0.01, "augment": 0}
    after = farthing.quantize(model, X, y, calibrate=False, **options)
    assert np.mean(y <= after.predict(X)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("known", [True, False])
def test_a_student_learns_a_quantile(known):
    X, signal = rows(5000)
    y = signal + np.random.default_rng(1).normal(size=5000)
    teacher = farthing.Regressor(loss="quantile", quantile=0.9, **QUICK).fit(X, y)
    student = farthing.Regressor(loss="quantile", quantile=0.9, hidden=(8,), random_state=0)
    small = farthing.distill(teacher, X, y if known else None, student=student)
    assert np.corrcoef(small.predict(X), teacher.predict(X))[0, 1] > 0.98
    assert np.mean(y <= small.predict(X)) == pytest.approx(0.9, abs=0.025)


# ---- the exact solver -----------------------------------------------------------------------


def test_the_articles_line_is_found():
    x = np.random.default_rng(0).uniform(0, 1, (100, 1))
    line = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(x, 2 * x[:, 0])
    assert line.coef_[0] == 2.0 and line.intercept_ == pytest.approx(0, abs=1e-7)
    wide = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(
        x * 1e4 - 7, 2 * (x[:, 0] * 1e4 - 7) + 3
    )
    assert wide.coef_[0] == pytest.approx(2.0, rel=1e-6)
    assert wide.intercept_ == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_the_exact_solver_takes_a_ridge(l2):
    X, signal = rows(500)
    X = X * [1, 100, 10] + 5
    y, weight = signal * 10, np.random.default_rng(0).uniform(0, 2, 500)
    model = farthing.Regressor(hidden=(), encoder=None, solver="exact", l2=l2).fit(X, y, weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    theirs = Ridge(alpha=l2 * weight.sum()).fit(scaler.transform(X), y, weight)
    np.testing.assert_allclose(model.coef_ * scaler.scale_, theirs.coef_, rtol=1e-4, atol=1e-5)
    assert model.training_ == {"rows": 500, "search_rows": 0}
    plain = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(X, y, weight)
    least = farthing.Regressor(hidden=(), encoder=None, solver="exact", l2=0).fit(X, y, weight)
    assert np.array_equal(plain.coef_, least.coef_)
    assert np.linalg.norm(plain.coef_ * scaler.scale_) > np.linalg.norm(theirs.coef_)


def test_an_exact_student_is_solved_for():
    X, signal = rows(2000)
    student = farthing.Regressor(hidden=(), encoder=None, solver="exact", calibrate=False)
    teacher = 3 * X[:, 0] - X[:, 1] + 2
    small = farthing.distill(teacher, X, signal, student=student, alpha=1)
    np.testing.assert_allclose(small.coef_, [3, -1, 0], atol=1e-5)


def test_the_exact_solver_checks_an_eval_set():
    X, signal = rows(200)
    with pytest.raises(ValueError, match="eval_set must have 3 features"):
        farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(
            X, signal, eval_set=(X[:, :2], signal)
        )


# ---- rows of no weight, refusals ------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared", "quantile", "huber", *MEANS])
def test_rows_of_no_weight_count_as_absent(loss):
    X, _, drawn = counts(3000)
    y, kept = drawn["gamma"], np.arange(3000) % 3 > 0
    model = farthing.Regressor(loss=loss, hidden=(4,), max_epochs=2, random_state=0)
    ours = model.fit(X, np.where(kept, y, 99.0), kept * 1.0).predict(X)
    assert np.array_equal(ours, model.fit(X[kept], y[kept]).predict(X))


@pytest.mark.parametrize(
    ("parameters", "change", "says"),
    [
        ({"loss": "poisson"}, lambda y: y - 1e-9, "y must be 0 or more for loss='poisson', got -1"),
        ({"loss": "poisson"}, lambda y: 0 * y, "y must have a positive sum for loss='poisson'"),
        ({"loss": "gamma"}, lambda y: y, "y must be above 0 for loss='gamma', got 0.0 in row 0"),
        ({"loss": "gamma"}, lambda y: (y + 1) * 1e-33, "y must have a mean from 1e-30 to 1e[+]35"),
        ({"loss": "log"}, lambda y: y, "loss must be one of 'squared', 'absolute', .* got 'log'"),
        ({"quantile": 0.0}, lambda y: y, r"quantile must be a number in \(0, 1\), got 0.0"),
        ({"quantile": 1}, lambda y: y, r"quantile must be a number in \(0, 1\), got 1"),
        ({"huber_delta": 0}, lambda y: y, r"huber_delta must be a number in \(0, inf\), got 0"),
        ({"l2": "none"}, lambda y: y, r"l2 must be a number in \[0, inf\) or 'auto', got 'none'"),
        (
            {"solver": "exact", "hidden": (), "encoder": None, "loss": "huber"},
            lambda y: y,
            "solver 'exact' needs loss='squared', got 'huber'",
        ),
    ],
)
def test_what_makes_no_sense_is_named(parameters, change, says):
    X, _ = rows(200)
    y = np.arange(200.0)
    with pytest.raises((ValueError, TypeError), match=says):
        farthing.Regressor(**parameters).fit(X, change(y))


def test_an_eval_set_must_fit_the_loss():
    X, _ = rows(200)
    model = farthing.Regressor(loss="poisson", max_epochs=1)
    with pytest.raises(ValueError, match="eval_set must be 0 or more for loss='poisson', got -1"):
        model.fit(X, np.ones(200), eval_set=(X, -np.ones(200)))


@pytest.mark.parametrize("loss", ["squared", "poisson", "gamma"])
@pytest.mark.parametrize("rows", [600, 1200])
def test_means_have_the_mean_of_the_rows_learnt_from(loss, rows):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 5))
    y = rng.gamma(1, np.exp(0.7 * X[:, 0] + 0.5 * X[:, 1]))
    model = farthing.Regressor((8,), loss=loss, max_epochs=4, random_state=0).fit(X, y)
    # From 1,000 rows on a tenth of them, held out, refits the level a little.
    assert model.predict(X).mean() == pytest.approx(y.mean(), rel=1e-5 if rows < 1000 else 0.05)


def test_calibration_does_no_harm_to_a_skewed_target():
    n, rng = 4000, np.random.default_rng(2)
    X = rng.normal(size=(2 * n, 5))
    mean = np.exp((np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] * 0.7 + X[:, 3]) * 0.8)
    y = mean * np.exp(rng.normal(size=2 * n))
    score = [
        farthing.Regressor((16,), calibrate=calibrate, max_epochs=6, random_state=2)
        .fit(X[:n], y[:n])
        .score(X[n:], y[n:])
        for calibrate in (False, True)
    ]
    assert score[1] > score[0] - 0.02


@pytest.mark.parametrize("value", [0.0, 0.03, -7e5])
@pytest.mark.parametrize("rows", [300, 1500])
def test_a_constant_is_answered_by_itself(value, rows):
    X = np.random.default_rng(0).normal(size=(rows, 4))
    model = farthing.Regressor((8,), max_epochs=2, random_state=0).fit(X, np.full(rows, value))
    np.testing.assert_allclose(model.predict(X * 3), value, rtol=1e-6, atol=1e-9)
