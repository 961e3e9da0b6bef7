import credit
import numpy as np
import pytest

import farthing
from farthing.encoding import Standardizer


def weights(model):
    return [layer.weight for layer in getattr(model, "model_", model).layers]


def zeros(model):
    return [w == 0 for w in weights(model)]


def test_global_magnitude_drops_the_smallest():
    before = credit.fitted()
    after = farthing.prune(before, sparsity=0.6)
    old, new = (
        np.concatenate([w.ravel() for w in weights(before)]),
        np.concatenate([w.ravel() for w in weights(after)]),
    )
    dropped = new == 0
    assert dropped.sum() == round(0.6 * len(old))
    assert np.abs(old[dropped]).max() <= np.abs(old[~dropped]).min()
    assert np.array_equal(old[~dropped], new[~dropped])
    assert not any(z.any() for z in zeros(before))


def test_scope_layer_drops_the_share_of_every_layer():
    after = farthing.prune(credit.fitted(), sparsity=0.5, scope="layer")
    assert [int(z.sum()) for z in zeros(after)] == [round(z.size / 2) for z in zeros(after)]


def test_units_are_counted_as_prune_mask_counts_them():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(1, 10)).astype(np.float32)
    encoder = Standardizer().fit(np.eye(10))
    for sparsity in (0.04, 0.05, 0.15, 0.25, 0.34, 0.95, 0.999):
        model = farthing.Model.build(encoder, ())
        model.layers[0].weight = weight.copy()
        expected = farthing.kernels.prune_mask(weight, sparsity)
        for scope in ("global", "layer"):
            after = farthing.prune(model, sparsity=sparsity, scope=scope)
            assert np.array_equal(after.layers[0].weight != 0, expected), sparsity
    # 0.5, 1.5 and 2.5 of ten weights: halves go to the even number.
    counts = [farthing.kernels.drop_count(s, 10) for s in (0.05, 0.15, 0.25, 0.999)]
    assert counts == [0, 2, 2, 9]


def test_one_weight_a_layer_always_stays():
    after = farthing.prune(credit.fitted(), sparsity=0.9999)
    assert all((~z).any() for z in zeros(after))


def test_l1_and_l2_agree_for_weights_and_differ_for_neurons():
    model = credit.fitted()
    for norm in ("l1", "l2"):
        after = farthing.prune(model, sparsity=0.6, norm=norm)
        assert all(map(np.array_equal, zeros(after), zeros(farthing.prune(model, sparsity=0.6))))
    spread = model.model_.copy()
    layer = spread.layers[0]
    layer.weight[:] = 0.9
    layer.weight[0] = 0.0
    layer.weight[0, :10] = 4.0  # L1 40 against 0.9 k, L2 12.6 against 0.9 sqrt(k)
    k = layer.n_inputs
    assert 40 < 0.9 * k and 12.6 > 0.9 * np.sqrt(k)
    share = 1 / 24  # one of the 16 + 8 neurons
    spread.layers[1].weight[:] = 100.0
    l1, l2 = (
        farthing.prune(spread, sparsity=share, pattern="neuron", norm=n) for n in ("l1", "l2")
    )
    assert l1.layers[0].n_outputs == l2.layers[0].n_outputs == 15
    assert l1.layers[0].weight.max() < 1 and l2.layers[0].weight.max() == 4


def test_threshold():
    after = farthing.prune(credit.fitted(), threshold=0.1)
    for old, new in zip(weights(credit.fitted()), weights(after), strict=True):
        assert np.array_equal(new != 0, np.abs(old) >= np.float32(0.1))


def test_neurons_leave_both_layers_and_the_masked_network_scores_the_same():
    X, _ = credit.data()
    before = credit.fitted()
    after = farthing.prune(before, sparsity=0.5, pattern="neuron")
    shapes = [w.shape for w in weights(after)]
    assert shapes[0][0] == shapes[1][1] < 16 and sum(s[0] for s in shapes[:2]) == 12
    masked = before.model_.copy()
    norms = [np.abs(layer.weight).sum(axis=1) for layer in masked.layers[:2]]
    norms = [norm / norm.mean() for norm in norms]
    cut = np.sort(np.concatenate(norms))[12]
    for layer, norm in zip(masked.layers[:2], norms, strict=True):
        layer.weight[norm < cut] = 0
        layer.bias[norm < cut] = 0
    z = masked.forward(X.astype(np.float32))[:, 0].astype(np.float64)
    np.testing.assert_allclose(after.predict_proba(X)[:, 1], 1 / (1 + np.exp(-z)), atol=1e-6)


@pytest.mark.parametrize("pattern", ["unstructured", "neuron"])
def test_cubic_schedule_reaches_its_sparsity_and_beats_one_shot(pattern):
    X, y = credit.data()
    before = credit.fitted()
    share = 0.9 if pattern == "unstructured" else 0.6
    gradual = farthing.prune(
        before, X, y, sparsity=share, pattern=pattern, schedule="cubic", epochs=8
    )
    if pattern == "unstructured":
        total = sum(z.size for z in zeros(gradual))
        assert sum(int(z.sum()) for z in zeros(gradual)) == round(share * total)
    else:
        assert sum(w.shape[0] for w in weights(gradual)[:-1]) == 24 - round(share * 24)
    once = farthing.prune(before, X, y, sparsity=share, pattern=pattern)
    auc = [farthing.metrics.auc(y, m.predict_proba(X)[:, 1]) for m in (once, gradual, before)]
    assert auc[0] < auc[1] and auc[1] > auc[2] - 0.02


def test_zeros_stay_through_every_later_step():
    X, y = credit.data()
    first = farthing.prune(credit.fitted(), sparsity=0.5)
    gone = zeros(first)
    later = {
        "prune": farthing.prune(first, sparsity=0.7),
        "cubic": farthing.prune(first, X, y, sparsity=0.7, schedule="cubic", epochs=2),
        "int8": farthing.quantize(first, X, y),
        "int4": farthing.quantize(first, X, weight_bits=4, group_size=32),
        "qat": farthing.quantize(first, X, y, weight_bits=4, training="qat", epochs=2),
    }
    for method in ("random", "wanda", "taylor", "fisher", "obs"):
        later[method] = farthing.prune(first, X, y, sparsity=0.7, method=method)
    for method in ("gptq", "adaround"):
        later[method] = farthing.quantize(
            first, X, weight_bits=4, method=method, bias_correction=True
        )
    for training in ("lsq", "integer"):
        later[training] = farthing.quantize(first, X, y, weight_bits=4, training=training, epochs=2)
    for rounding in ("floor", "stochastic"):
        later[f"affine {rounding}"] = farthing.quantize(
            first, X, weight_bits=4, scheme="affine", rounding=rounding
        )
    later["iterative"] = farthing.prune(first, X, y, sparsity=0.7, schedule="iterative", epochs=2)
    later["requantized"] = farthing.quantize(later["int4"], X, weight_bits=8)
    later["pruned integers"] = farthing.prune(later["int8"], sparsity=0.8)
    for name, model in later.items():
        for z, now in zip(gone, zeros(model), strict=True):
            assert now[z].all(), name
        for layer in model.model_.layers:
            if layer.quantized is not None:
                assert np.array_equal(layer.quantized.values == 0, layer.weight == 0), name


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_later_pruning_brings_nothing_back(scope):
    X, y = credit.data()
    first = farthing.prune(credit.fitted(), sparsity=0.5)
    shares = [z.mean() for z in zeros(first)]
    assert max(shares) > 0.55 > 0.45 > min(shares)
    later = {
        "less": farthing.prune(first, sparsity=0.2, scope=scope),
        "as much": farthing.prune(first, sparsity=0.5, scope=scope),
        "cubic": farthing.prune(first, X, y, sparsity=0.5, scope=scope, schedule="cubic", epochs=2),
    }
    later["trained again"] = farthing.quantize(later["less"], X, y, training="qat", epochs=1)
    for name, model in later.items():
        for layer, gone in zip(model.model_.layers, zeros(first), strict=True):
            assert not layer.weight[gone].any(), name
            assert not gone.any() or not layer.mask[gone].any(), name


@pytest.mark.parametrize("quantized", [False, True])
def test_neurons_without_weights_leave_their_constant_to_the_next_layer(quantized):
    X, _ = credit.data()
    model = credit.with_constant_neurons(credit.fitted())
    if quantized:
        model = farthing.quantize(model, X)
    small = farthing.prune(model, sparsity=0.0, pattern="neuron")
    assert [w.shape[0] for w in weights(small)] == [13, 8, 1]
    before, after = model.predict_proba(X), small.predict_proba(X)
    # Of integers the next layer's rounding may fall the other way here and there.
    assert np.quantile(np.abs(after - before), 0.9) < 1e-6


def test_pruning_a_quantized_model_prunes_its_integers():
    X, _ = credit.data()
    small = farthing.prune(farthing.quantize(credit.fitted(), X), sparsity=0.8)
    values = [layer.quantized.values.ravel() for layer in small.model_.layers]
    assert np.mean(np.concatenate(values) == 0) >= 0.79
    shrunk = farthing.prune(farthing.quantize(credit.fitted(), X), sparsity=0.5, pattern="neuron")
    assert shrunk.model_.layers[0].quantized.values.shape == shrunk.model_.layers[0].weight.shape
    assert np.isfinite(shrunk.predict_proba(X)).all()


def test_takes_and_returns_models_too():
    model = credit.fitted().model_
    small = farthing.prune(model, sparsity=0.5)
    assert type(small) is farthing.Model and small is not model
    X, y = credit.data()
    tuned = farthing.prune(model, X, y, sparsity=0.5, schedule="cubic", epochs=1)
    assert type(tuned) is farthing.Model


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "exactly one of sparsity and threshold"),
        ({"sparsity": 0.5, "threshold": 0.1}, "exactly one"),
        ({"sparsity": 1.0}, r"sparsity must be a number in \[0, 1\)"),
        ({"sparsity": -0.1}, "sparsity must be"),
        ({"threshold": -1}, r"threshold must be a number in \[0, inf\) or None, got -1"),
        ({"sparsity": 0.5, "method": "magic"}, "method must be one of 'magnitude'"),
        ({"sparsity": 0.5, "norm": "l3"}, "norm"),
        ({"sparsity": 0.5, "scope": "world"}, "scope"),
        ({"sparsity": 0.5, "pattern": "stripes"}, "pattern"),
        ({"sparsity": 0.5, "schedule": "linear"}, "schedule"),
        ({"sparsity": 0.5, "schedule": "cubic"}, "needs rows"),
        ({"sparsity": 0.5, "epochs": 0}, "epochs must be an integer >= 1 or None, got 0"),
        ({"sparsity": 0.5, "learning_rate": 0}, "learning_rate"),
        ({"sparsity": 0.5, "augment": -1}, "augment"),
        ({"sparsity": 0.5, "alpha": 2}, "alpha"),
        ({"sparsity": 0.5, "y": [1]}, "X must be given where y is"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        farthing.prune(credit.fitted(), **arguments)


def test_unfitted_and_foreign_models_are_refused():
    with pytest.raises(ValueError, match="not fitted"):
        farthing.prune(farthing.Classifier(), sparsity=0.5)
    with pytest.raises(TypeError, match="got dict"):
        farthing.prune({}, sparsity=0.5)
    X, y = credit.data()
    with pytest.raises(ValueError, match="4 features"):
        farthing.prune(credit.fitted(), X[:, :4], y, sparsity=0.5)
