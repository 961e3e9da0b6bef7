"""Scopes: who competes with whom, layers of their own sparsity, layers left alone, schedules."""

import credit
import numpy as np
import pytest

import farthing
from farthing.pruning.schedules import SCHEDULES


def shares(model):
    return [float((layer.weight == 0).mean()) for layer in model.model_.layers]


def test_a_dict_prunes_the_layers_that_it_names():
    after = farthing.prune(credit.fitted(), sparsity={"dense0": 0.8, "dense2": 0.5})
    assert shares(after) == pytest.approx([0.8, 0, 0.5], abs=0.01)
    for layer, old in zip(after.model_.layers, credit.fitted().model_.layers, strict=True):
        size = np.abs(old.weight)
        assert size[layer.weight == 0].max(initial=0) <= size[layer.weight != 0].min()


def test_excluded_layers_stay_and_do_not_count():
    before = credit.fitted()
    after = farthing.prune(before, sparsity=0.6, exclude=["dense0"])
    assert np.array_equal(after.model_.layers[0].weight, before.model_.layers[0].weight)
    left = [layer.weight for layer in after.model_.layers[1:]]
    total = sum(w.size for w in left)
    assert sum(int((w == 0).sum()) for w in left) == round(0.6 * total)
    above = farthing.prune(before, threshold=0.2, exclude=["dense1"])
    assert shares(above)[1] == 0 and shares(above)[0] > 0


@pytest.mark.parametrize("pattern", ["neuron", "8x4", "1:2"])
def test_structures_may_be_excluded_too(pattern):
    before = credit.fitted()
    share = None if pattern == "1:2" else 0.5
    after = farthing.prune(before, sparsity=share, pattern=pattern, exclude=["dense0"])
    assert after.model_.layers[0].n_outputs == before.model_.layers[0].n_outputs
    assert np.array_equal(after.model_.layers[0].weight, before.model_.layers[0].weight)
    assert (
        sum(layer.weight.size for layer in after.model_.layers[1:])
        < sum(layer.weight.size for layer in before.model_.layers[1:])
        or (after.model_.layers[1].weight == 0).any()
    )


def test_n_of_m_need_not_divide_what_is_excluded():
    X, y = credit.data()
    model = farthing.Classifier(hidden=(7, 8), max_epochs=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="pattern '1:2' must divide the inputs of dense1, got 7"):
        farthing.prune(model, pattern="1:2")
    after = farthing.prune(model, pattern="1:2", exclude=["dense1"])
    assert shares(after) == [0.5, 0, 0.5]


def test_what_went_before_counts_in_each_layer():
    first = farthing.prune(credit.fitted(), sparsity={"dense0": 0.9})
    after = farthing.prune(first, sparsity=0.5, scope="layer")
    assert shares(after) == pytest.approx([0.9, 0.5, 0.5], abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": {"dense9": 0.5}}, "sparsity must name layers .* dense0, dense1, dense2, got"),
        ({"sparsity": {"dense0": 1.0}}, r"sparsity of dense0 must be a number in \[0, 1\), got 1"),
        ({"sparsity": {}}, "sparsity must name one of the layers dense0, dense1, dense2"),
        ({"sparsity": 0.5, "exclude": ["input"]}, "exclude must name layers .* got 'input'"),
        (
            {"sparsity": 0.5, "exclude": ["dense0", "dense1", "dense2"]},
            "exclude must leave a layer of dense0, dense1, dense2 to prune",
        ),
        (
            {"sparsity": {"dense0": 0.5}, "exclude": ["dense0"]},
            "exclude must not name 'dense0', which sparsity names",
        ),
        (
            {"sparsity": {"dense2": 0.5}, "pattern": "neuron"},
            "sparsity must name layers with units of the pattern: dense0, dense1, got 'dense2'",
        ),
    ],
)
def test_layers_that_are_not_there_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        farthing.prune(credit.fitted(), **arguments)


def test_a_text_is_no_list_of_layers():
    with pytest.raises(TypeError, match="exclude must be a list of names of layers, got 'dense0'"):
        farthing.prune(credit.fitted(), sparsity=0.5, exclude="dense0")


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_rise_to_one(name):
    for share in (0.0, 0.3, 0.95):
        path = [SCHEDULES[name](t, share) for t in np.linspace(0, 1, 101)]
        assert path[-1] == pytest.approx(1) and np.all(np.diff(path) >= 0)


def test_iterative_takes_the_same_part_every_time():
    path = [1 - 0.9 * SCHEDULES["iterative"](t, 0.9) for t in (0.1, 0.3, 0.5, 0.7, 0.9)]
    np.testing.assert_allclose(path, 0.1 ** (np.arange(1, 6) / 5))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_reaches_its_sparsity_in_every_scope(name):
    X, y = credit.data()
    for sparsity, expected in ((0.8, None), ({"dense0": 0.9}, [0.9, 0, 0])):
        after = farthing.prune(
            credit.fitted(), X, y, sparsity=sparsity, schedule=name, epochs=2, augment=0
        )
        if expected:
            assert shares(after) == pytest.approx(expected, abs=0.01)
        else:
            weights = np.concatenate([layer.weight.ravel() for layer in after.model_.layers])
            assert (weights == 0).mean() == pytest.approx(0.8, abs=1e-3)
