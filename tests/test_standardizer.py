import numpy as np
import pytest

import farthing
from farthing import FarthingError
from farthing.standardizer import Standardizer


def test_standardizer_is_the_weighted_mean_and_deviation(rng):
    X = np.column_stack([rng.normal(50, 7, 500), rng.random(500), np.full(500, 3.0)])
    X[::7, 0] = np.nan
    weight = rng.random(500)
    encoder = Standardizer().fit(X, weight)
    known = ~np.isnan(X[:, 0])
    mean = np.average(X[known, 0], weights=weight[known])
    deviation = np.sqrt(np.average((X[known, 0] - mean) ** 2, weights=weight[known]))
    np.testing.assert_allclose(encoder.mean_, [mean, 0, 3], rtol=1e-5)
    np.testing.assert_allclose(encoder.scale_, [1 / deviation, 1, 0], rtol=1e-5)
    positions = encoder.positions(X)
    assert np.array_equal(positions[:, 1], X[:, 1].astype(np.float32))
    median = (encoder.fill_[0] - encoder.mean_[0]) * encoder.scale_[0]
    assert (positions[::7, 0] == median).all()
    assert encoder.expand(positions) is positions


def test_standardizer_with_unit_range_is_the_grid_of_the_file_format(rng):
    X = rng.normal(50, 7, size=(300, 2)).astype(np.float32)
    plain = Standardizer().fit(X)
    z = plain.positions(X)
    ranged = plain.unit_range(z.min(axis=0), z.max(axis=0))
    np.testing.assert_allclose(
        ranged.positions(X), (z - z.min(axis=0)) / np.ptp(z, axis=0), rtol=0, atol=1e-5
    )
    X[0] = 1e9
    X[1] = -1e9
    X[2] = np.nan
    filled = np.where(np.isnan(X), ranged.fill_, X)
    scale = ranged.scale_ * np.float32(127)
    expected = np.rint(((filled - ranged.mean_) * scale).clip(0, 127))
    assert np.array_equal(np.rint(ranged.positions(X, 127) * 127), expected)
    assert expected[:2].tolist() == [[127, 127], [0, 0]]


def test_unit_range_refuses_an_empty_range():
    with pytest.raises(FarthingError, match="high"):
        Standardizer().fit([[1.0], [2.0]]).unit_range([1.0], [1.0])


def test_standardizer_refuses_infinity_when_scoring():
    with pytest.raises(FarthingError, match="column 0 holds infinity"):
        Standardizer().fit([[1.0], [2.0]]).positions([[np.inf]])


def test_every_column_is_its_feature():
    assert Standardizer().fit([[1.0, 2.0], [3.0, 4.0]]).feature_of_column.tolist() == [0, 1]


def test_values_far_from_the_training_rows_are_clamped(tmp_path):
    """A sum of float layers would else pass float32, and a monotone score turn or be NaN."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=2000), rng.normal(size=2000) * 1e-3])
    y = (X[:, 0] + 1000 * X[:, 1] + rng.normal(size=2000) > 0).astype(int)
    model = farthing.Classifier(
        (8,), encoder=None, monotone_constraints={0: 1, 1: 1}, max_epochs=4, random_state=0
    ).fit(X, y)
    grid = np.concatenate([-np.logspace(38, -2, 60), np.logspace(-2, 38, 60)])
    model.save(tmp_path / "model.farthing")
    scorer = farthing.load(tmp_path / "model.farthing")
    for j in (0, 1):
        rows = np.zeros((len(grid), 2))
        rows[:, j], rows[:, 1 - j] = grid, -1e36
        score = scorer.predict(rows)
        assert np.isfinite(score).all() and (np.diff(score) >= 0).all()
        np.testing.assert_allclose(model.predict_proba(rows)[:, 1], score, atol=1e-6)
    assert model.certify_monotone() == {0: True, 1: True}
