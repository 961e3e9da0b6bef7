"""What each pattern of pruning removes, against calculations of its own."""

import copy

import credit
import numpy as np
import pytest

import farthing
from farthing.probe import Sample
from farthing.pruning.units import PATTERNS, kind_of, units_of
from farthing.steps import Step


def layers(model):
    return model.model_.layers


def masks(model):
    return [layer.mask for layer in layers(model)]


def same_score(model, tmp_path, X):
    model.save(tmp_path / "model.farthing")
    score = farthing.load(tmp_path / "model.farthing").predict(X)
    np.testing.assert_allclose(score, model.predict_proba(X)[:, 1], atol=1e-6)


# ---- blocks and N:M ---------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_blocks_go_by_their_norm_a_weight(norm):
    before = credit.fitted()
    after = farthing.prune(before, sparsity=0.6, pattern="4x8", norm=norm, scope="layer")
    for old, new in zip(layers(before), layers(after), strict=True):
        n, k = old.weight.shape
        norms, kept = {}, {}
        for i in range(0, n, 4):
            for j in range(0, k, 8):
                own = np.abs(old.weight[i : i + 4, j : j + 8].astype(float))
                norms[i, j] = own.mean() if norm == "l1" else np.sqrt((own**2).mean())
                part = new.weight[i : i + 4, j : j + 8]
                assert part.all() or not part.any()
                kept[i, j] = part.any()
        gone = [block for block in norms if not kept[block]]
        assert len(gone) == min(round(0.6 * len(norms)), len(norms) - 1)
        least = min(norms[block] for block in norms if kept[block])
        assert all(norms[block] <= least * (1 + 1e-6) for block in gone)


def test_blocks_compete_between_layers_and_one_always_stays():
    after = farthing.prune(credit.fitted(), sparsity=0.99, pattern="32x4")
    assert all(layer.weight.any() for layer in layers(after))
    shares = [1 - layer.mask.mean() for layer in layers(after)]
    assert shares[0] > 0.9


@pytest.mark.parametrize("schedule", [None, "cubic"])
def test_n_of_m_keeps_the_largest_of_every_group(schedule):
    X, y = credit.data()
    before = credit.fitted((16, 8))
    epochs = None if schedule is None else 2
    after = farthing.prune(before, X, y, pattern="1:2", schedule=schedule, epochs=epochs)
    for old, new in zip(layers(before), layers(after), strict=True):
        kept = (new.weight != 0).reshape(len(new.weight), -1, 2)
        assert (kept.sum(axis=2) == 1).all()
        if schedule is None:
            size = np.abs(old.weight).reshape(kept.shape)
            assert (size[kept] >= size[~kept]).all()


def test_n_of_m_upon_pruned_weights_keeps_their_zeros():
    first = farthing.prune(credit.fitted(), sparsity=0.7)
    after = farthing.prune(first, pattern="1:2")
    for gone, layer in zip(masks(first), layers(after), strict=True):
        assert gone is None or not layer.weight[~gone].any()
        assert ((layer.weight != 0).reshape(len(layer.weight), -1, 2).sum(axis=2) <= 1).all()


def test_n_of_m_must_divide_the_inputs_of_every_layer():
    with pytest.raises(ValueError, match=r"pattern '1:3' must divide the inputs of dense\d, got"):
        farthing.prune(credit.fitted((16, 8)), pattern="1:3")
    with pytest.raises(ValueError, match=r"sparsity must be None or 0.5 for pattern '2:4'"):
        farthing.prune(credit.fitted(), pattern="2:4", sparsity=0.6)
    with pytest.raises(ValueError, match=r"threshold must be None for pattern '2:4', got 0\.1"):
        farthing.prune(credit.fitted(), pattern="2:4", threshold=0.1)


# ---- features ---------------------------------------------------------------------------------


@pytest.mark.parametrize("quantized", [False, True])
def test_features_of_least_norm_go_with_their_bins(quantized, tmp_path):
    X, y = credit.data()
    before = credit.fitted()
    if quantized:
        before = farthing.quantize(before, X, y)
    encoder, first = before.model_.encoder, layers(before)[0]
    norm = np.zeros(X.shape[1])
    np.add.at(norm, encoder.feature_of_column, np.abs(first.weight).sum(axis=0))
    after = farthing.prune(before, sparsity=0.4, pattern="feature", calibrate=False)
    gone = np.argsort(norm)[: round(0.4 * len(norm))]
    bins = after.model_.encoder.bins_
    assert (bins[gone] == 0).all()
    kept = np.setdiff1d(np.arange(len(norm)), gone)
    np.testing.assert_array_equal(bins[kept], encoder.bins_[kept])
    assert layers(after)[0].n_inputs == after.model_.encoder.width < encoder.width
    # What went has no say any more, missing or not; the rest scores as with zeros in its place.
    changed = X.copy()
    changed[:, gone] = np.nan
    np.testing.assert_array_equal(after.predict_proba(changed), after.predict_proba(X))
    masked = before.model_.copy()
    layer = masked.layers[0]
    layer.set_mask(~np.isin(encoder.feature_of_column, gone) & np.ones(layer.weight.shape, bool))
    expected = masked.forward(X.astype(np.float32))[:, 0]
    np.testing.assert_allclose(
        after.model_.forward(X.astype(np.float32))[:, 0], expected, atol=1e-5
    )
    same_score(after, tmp_path, X)


def test_a_feature_that_goes_leaves_its_mean():
    X, y = credit.data()
    before = credit.fitted()
    after = farthing.prune(before, X, y, sparsity=0.4, pattern="feature", calibrate=False)
    encoder, first = before.model_.encoder, layers(before)[0]
    columns = encoder.expand(encoder.positions(X))
    gone = after.model_.encoder.bins_[encoder.feature_of_column] == 0
    assert gone.any()
    lost = first.weight[:, gone] @ columns[:, gone].mean(axis=0)
    # The search rows have no say: a tenth of X.
    np.testing.assert_allclose(layers(after)[0].bias - first.bias, lost, atol=0.02)
    assert np.abs(lost).max() > 0.1


def test_features_of_a_model_without_bins_stay_columns(tmp_path):
    X, y = credit.data()
    before = farthing.Classifier((8,), encoder=None, max_epochs=2, random_state=0).fit(X, y)
    after = farthing.prune(before, X, y, sparsity=0.5, pattern="feature")
    columns = layers(after)[0].weight.any(axis=0)
    assert (~columns).sum() == round(0.5 * X.shape[1])
    same_score(after, tmp_path, X)


# ---- bins -------------------------------------------------------------------------------------


def slopes(model, feature):
    """Slopes (units, bins) of the first layer in a feature, and its edges."""
    encoder, layer = model.model_.encoder, layers(model)[0]
    edges = encoder.edges_[feature].astype(float)
    return layer.weight[:, encoder.ordered_columns(feature)] / np.diff(edges), edges


def test_the_edge_of_the_least_corner_goes_first():
    before = credit.fitted()
    corners = {}
    for j in np.flatnonzero(before.model_.encoder.bins_ > 1):
        slope, edges = slopes(before, j)
        for t in range(slope.shape[1] - 1):
            left, right = np.diff(edges)[t : t + 2]
            # The chord over both bins against the two pieces, at the edge between them.
            rise = slope[:, t] * left
            chord = (rise + slope[:, t + 1] * right) * left / (left + right)
            corners[j, t] = np.abs(rise - chord).sum()
    least = min(corners, key=corners.get)
    after = farthing.prune(before, sparsity=1.01 / len(corners), pattern="bin")
    old, new = before.model_.encoder.edges_, after.model_.encoder.edges_
    for j in range(len(old)):
        expected = np.delete(old[j], least[1] + 1) if j == least[0] else old[j]
        np.testing.assert_array_equal(new[j], expected)


def test_bins_of_equal_slope_merge_without_a_change(tmp_path):
    X, _ = credit.data()
    before = credit.fitted()
    encoder, layer = before.model_.encoder, layers(before)[0]
    straight = farthing.prune(before, sparsity=1e-9, pattern="bin")  # a copy
    layer = layers(straight)[0]
    for j in np.flatnonzero(encoder.bins_ > 1):
        own = encoder.ordered_columns(j)
        width = np.diff(encoder.edges_[j].astype(float))
        layer.weight[:, own] = layer.weight[:, own].sum(axis=1, keepdims=True) * width / width.sum()
    straight._forget_scorer()
    inner = int(np.maximum(encoder.bins_ - 1, 0).sum())
    after = farthing.prune(straight, sparsity=(inner - 1) / inner, pattern="bin")
    assert np.maximum(after.model_.encoder.bins_ - 1, 0).sum() == 1
    np.testing.assert_allclose(after.predict_proba(X), straight.predict_proba(X), atol=2e-6)
    same_score(after, tmp_path, X)


def test_bins_go_gradually_while_training(tmp_path):
    X, y = credit.data()
    before = credit.fitted()
    inner = int(np.maximum(before.model_.encoder.bins_ - 1, 0).sum())
    once = farthing.prune(before, X, y, sparsity=0.85, pattern="bin")
    gradual = farthing.prune(before, X, y, sparsity=0.85, pattern="bin", schedule="cubic", epochs=6)
    for model in (once, gradual):
        left = int(np.maximum(model.model_.encoder.bins_ - 1, 0).sum())
        assert left == inner - round(0.85 * inner)
        same_score(model, tmp_path, X)
    said = before.predict_proba(X)[:, 1]
    error = [np.abs(m.predict_proba(X)[:, 1] - said).mean() for m in (once, gradual)]
    assert error[1] < error[0]


def test_pruned_weights_stay_pruned_where_bins_merge():
    first = farthing.prune(credit.fitted(), sparsity=0.9)
    after = farthing.prune(first, sparsity=0.5, pattern="bin")
    layer = layers(after)[0]
    assert layer.mask.shape == layer.weight.shape
    assert not layer.weight[~layer.mask].any()
    assert (~layer.mask).mean() > 0.5


def test_bins_need_bins_and_float_weights():
    X, y = credit.data()
    plain = farthing.Classifier((4,), encoder=None, max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="pattern 'bin' needs a model with encoder='piecewise"):
        farthing.prune(plain, sparsity=0.5, pattern="bin")
    with pytest.raises(ValueError, match="got a quantized model; prune before quantizing"):
        farthing.prune(farthing.quantize(credit.fitted(), X, y), sparsity=0.5, pattern="bin")


# ---- in general -------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["unstructured", "neuron", "feature", "bin", "8x4", "1:2"])
def test_tables_shrink_and_the_file_scores_the_same_after_quantization(pattern):
    X, y = credit.data()
    sparsity = None if pattern == "1:2" else 0.5
    after = farthing.prune(credit.fitted(), X, y, sparsity=sparsity, pattern=pattern)
    small = farthing.quantize(after, X, y, weight_bits=4)
    scorer = farthing.Scorer.from_bytes(small._bytes())
    np.testing.assert_array_equal(scorer.predict(X), small.predict_proba(X)[:, 1])

    def table(model):
        first = farthing.Scorer.from_bytes(model._bytes()).describe()["layers"][0]
        return first["table_bytes"]

    shrinks = pattern in ("neuron", "feature", "bin")
    full = table(farthing.quantize(credit.fitted(), X, y, weight_bits=4))
    assert (table(small) < full) == shrinks


def test_every_kind_of_pattern_has_units():
    model = credit.fitted((16, 8)).model_
    for pattern in ("unstructured", "neuron", "feature", "bin", "4x8", "1:2"):
        units = units_of(pattern, model.copy(), "l1")
        assert kind_of(pattern) in PATTERNS
        assert all((norm >= 0).all() for norm in units.norms())
    assert (
        len({kind_of(p) for p in ("unstructured", "neuron", "feature", "bin", "4x8", "1:2")}) == 6
    )


# ---- neurons ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{"sparsity": 0.5}, {"threshold": 0.1}, {"sparsity": 0.0}])
def test_a_layer_without_living_neurons_keeps_one(arguments, tmp_path):
    X, _ = credit.data()
    before = copy.copy(credit.fitted())
    before.model_ = before.model_.copy()
    layers(before)[0].set_mask(np.zeros(layers(before)[0].weight.shape, bool))
    before._forget_scorer()
    constant = before.predict_proba(X)
    assert np.ptp(constant[:, 1]) < 1e-6
    after = farthing.prune(before, pattern="neuron", **arguments)
    assert min(layer.n_outputs for layer in layers(after)) == 1
    np.testing.assert_allclose(after.predict_proba(X), constant, atol=1e-5)
    same_score(after, tmp_path, X)


def test_neurons_that_go_leave_their_mean():
    X, y = credit.data()
    before = farthing.Classifier((12,), activation="sigmoid", max_epochs=6, random_state=0)
    before.fit(X, y)
    after = farthing.prune(before, X, y, sparsity=0.5, pattern="neuron", calibrate=False)
    encoder = before.model_.encoder
    answers, _ = layers(before)[0].forward(encoder.expand(encoder.positions(X)))
    norms = np.abs(layers(before)[0].weight).sum(axis=1)
    gone = norms < np.sort(norms)[6]
    lost = layers(before)[1].weight[:, gone] @ answers[:, gone].mean(axis=0)
    change = layers(after)[1].bias - layers(before)[1].bias
    np.testing.assert_allclose(change, lost, rtol=0.02)
    assert np.abs(lost).max() > 0.1


def test_global_pruning_empties_no_layer_and_a_schedule_beats_one_step():
    """Raw inputs are few and their weights large, monotone sigmoid layers share their signs."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 8))
    z = 1.2 * X[:, 0] - 0.6 * X[:, 1] + np.sin(2 * X[:, 3]) + (X[:, 4] > 1) - 0.8
    y = (rng.random(3000) < 1 / (1 + np.exp(-z))).astype(int)
    plain = farthing.Classifier((24, 12), encoder=None, random_state=0).fit(X, y)
    signs = {0: 1, 1: -1}
    monotone = farthing.Classifier(
        (24, 12), activation="sigmoid", monotone_constraints=signs, max_epochs=8, random_state=0
    ).fit(X, y)
    for model in (plain, monotone):
        once = farthing.prune(model, X, y, sparsity=0.5, pattern="neuron")
        gradual = farthing.prune(model, X, y, sparsity=0.5, pattern="neuron", schedule="cubic")
        assert all(layer.n_outputs > 1 for layer in layers(gradual)[:-1])
        auc = [farthing.metrics.auc(y, m.predict_proba(X)[:, 1]) for m in (model, once, gradual)]
        assert auc[2] > auc[1] and auc[2] > auc[0] - 0.01, auc


# ---- what is shrunk says the same ---------------------------------------------------------------


@pytest.mark.parametrize("bits", [32, 8, 4])
@pytest.mark.parametrize("pattern", ["neuron", "feature"])
def test_a_shrunk_network_scores_as_the_masked_one_bit_for_bit(pattern, bits):
    """The masked one holds all its zeros, in the file too."""
    X, _ = credit.data()
    masked = copy.copy(credit.fitted())
    masked.model_ = masked.model_.copy()
    given = ("sample_weight", "groups", "validation", "random_state")
    step = Step(masked, X, alpha=1.0, **dict.fromkeys(given))
    units = units_of(pattern, masked.model_, "l1", Sample(step))
    units.drop([norm > np.quantile(norm, 0.4) for norm in units.norms()])
    if bits < 32:
        masked = farthing.quantize(masked, X, weight_bits=bits)
    shrunk = copy.copy(masked)
    shrunk.model_ = masked.model_.copy()
    units_of(pattern, shrunk.model_, "l1").shrink()
    shapes = [[layer.weight.shape for layer in layers(model)] for model in (masked, shrunk)]
    assert shapes[0] != shapes[1]
    scores = [farthing.Scorer.from_bytes(model._bytes()).predict(X) for model in (masked, shrunk)]
    assert np.array_equal(*scores)


# ---- rows that count more -----------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["neuron", "feature"])
def test_what_goes_leaves_the_mean_of_weighted_rows(pattern):
    """A row of weight 20 is twenty rows; without weights the means are others."""
    X, _ = credit.data()
    X = X[:1000]
    risk = credit.fitted().predict_proba(X)[:, 1]
    heavy = risk > np.median(risk)
    weight = np.where(heavy, 20.0, 1.0)
    repeated = np.concatenate([X] + [X[heavy]] * 19)
    options = {"sparsity": 0.8, "pattern": pattern, "calibrate": False, "validation": (X, None)}

    def said(rows, weight=None):
        small = farthing.prune(credit.fitted(), rows, sample_weight=weight, **options)
        p = small.predict_proba(X)[:, 1]
        return np.average(np.log(p / (1 - p)))

    assert said(X, weight) == pytest.approx(said(repeated), abs=0.03)
    assert abs(said(X) - said(repeated)) > 0.1
