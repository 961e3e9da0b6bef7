import numpy as np
import pytest

from farthing.batchnorm import BatchNorm
from farthing.layers import Dense
from farthing.optimizer import Adam, one_cycle


def layers(rng):
    first = Dense("dense0", rng.normal(size=(3, 2)), rng.normal(size=3), norm=BatchNorm(3, float))
    return [first, Dense("dense1", rng.normal(size=(1, 3)), rng.normal(size=1))]


def test_adam_is_the_algorithm_of_the_paper(rng):
    given = layers(rng)
    adam = Adam(given, weight_decay=0.1)
    expected = {}
    for i, layer in enumerate(given):
        for name, (owner, attribute) in layer.parameters().items():
            value = getattr(owner, attribute)
            expected[i, name] = [value.copy(), np.zeros_like(value), np.zeros_like(value)]
    assert [name for i, name in expected if i == 0] == ["weight", "gamma", "beta"]
    for t in range(1, 6):
        drawn = {}
        for (i, name), (value, _, _) in expected.items():
            drawn[i, name] = rng.normal(size=value.shape)
            adam.gradients[i][name][:] = drawn[i, name]
        adam.step(0.01)
        for key, state in expected.items():
            g = drawn[key]
            state[1] = 0.9 * state[1] + 0.1 * g
            state[2] = 0.999 * state[2] + 0.001 * g**2
            if key[1] == "weight":
                state[0] = state[0] - 0.01 * 0.1 * state[0]
            root = np.sqrt(state[2] / (1 - 0.999**t))
            state[0] = state[0] - 0.01 * (state[1] / (1 - 0.9**t)) / (root + 1e-8)
    sizes, means = adam.metric(0.01)
    for i, layer in enumerate(given):
        for name, (owner, attribute) in layer.parameters().items():
            ours = getattr(owner, attribute)
            np.testing.assert_allclose(ours, expected[i, name][0], rtol=1e-12)
        _, mean, square = expected[i, "weight"]
        np.testing.assert_allclose(means[i], mean, rtol=1e-12)
        root = np.sqrt(square / (1 - 0.999**5))
        np.testing.assert_allclose(sizes[i], 0.01 / (root + 1e-8), rtol=1e-12)


def test_tables_are_trained_with_the_layers(rng):
    given, tables = layers(rng), {4: rng.normal(size=(5, 2)), 1: rng.normal(size=(3, 3))}
    before = {key: table.copy() for key, table in tables.items()}
    adam = Adam(given, weight_decay=0.5, tables=tables)
    assert all(np.shares_memory(table, adam.parameters) for table in tables.values())
    for own in adam.gradients:
        for values in own.values():
            values[:] = 0
    adam.gradients[-1][4][2] = 3
    adam.step(0.1)
    adam.release()
    assert np.array_equal(tables[1], before[1])
    expected = before[4]
    expected[2] -= 0.1
    np.testing.assert_allclose(tables[4], expected, rtol=1e-7)
    assert not any(np.shares_memory(table, adam.parameters) for table in tables.values())


def test_many_parameters_go_through_in_pieces(monkeypatch, rng):
    results = []
    for chunk in (1 << 16, 4):
        monkeypatch.setattr("farthing.optimizer._CHUNK", chunk)
        given = layers(np.random.default_rng(0))
        adam = Adam(given, 0.1)
        for own in adam.gradients:
            for values in own.values():
                values[:] = 0.5
        adam.step(0.1)
        results.append(adam.parameters)
    assert np.array_equal(*results)


def test_arrays_from_outside_are_taken_over_and_given_back(rng):
    given = layers(rng)
    before = [layer.weight.copy() for layer in given]
    adam = Adam(given)
    assert all(np.shares_memory(layer.weight, adam.parameters) for layer in given)
    given[0].weight = np.full((3, 2), 2.0)
    given[0].mask = np.eye(3, 2, dtype=bool)
    adam.apply_masks()
    assert np.shares_memory(given[0].weight, adam.parameters)
    assert given[0].weight.tolist() == [[2, 0], [0, 2], [0, 0]]
    adam.release()
    for layer in given:
        assert not np.shares_memory(layer.weight, adam.parameters)
        assert layer.weight.flags.owndata
    assert np.array_equal(given[1].weight, before[1])


def test_masked_weights_and_their_moments_stay_zero(rng):
    given = layers(rng)
    adam = Adam(given, 0.1)
    for _ in range(3):
        for own in adam.gradients:
            for values in own.values():
                values[:] = 1
        adam.step(0.1)
    given[0].mask = np.eye(3, 2, dtype=bool)
    adam.apply_masks()
    for own in adam.gradients:
        for values in own.values():
            values[:] = 0
    adam.step(0.1)
    assert not given[0].weight[~given[0].mask].any()
    assert given[0].weight[given[0].mask].all()


@pytest.mark.parametrize("total", [1, 2, 9, 1000])
def test_one_cycle_rises_once_and_falls_towards_zero(total):
    rates = np.array([one_cycle(step, total) for step in range(total)])
    peak = rates.argmax()
    assert ((rates > 0) & (rates <= 1)).all() and rates.max() == 1
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) <= 0).all()
    assert total < 1000 or (peak == 99 and rates[-1] < 1e-4)
