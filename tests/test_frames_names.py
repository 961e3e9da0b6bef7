"""Tables with other columns than those of fit: the names are told before any value is read."""

import datetime
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import farthing
from farthing.tables import as_matrix

QUICK = {"hidden": (4,), "max_epochs": 2, "random_state": 0}
N = 240
Y = np.arange(N) % 3 == 0
TEXT = pd.DataFrame({"inc": np.arange(N, dtype=float), "city": ["Ulm", "Bonn"] * (N // 2)})
NUMBERS = TEXT.assign(city=np.arange(N) % 2)
DAYS = [datetime.date(2024, 1, 1)] * N

# By what is wrong: the same for a table of texts and one of numbers.
CHANGES = {
    "missing text": lambda X: X[["inc"]],
    "missing number": lambda X: X[["city"]],
    "extra text": lambda X: X.assign(shop="Aldi"),
    "extra date": lambda X: X.assign(day=DAYS),
    "extra first": lambda X: pd.concat([pd.Series(["Aldi"] * N, name="shop"), X], axis=1),
    "reordered": lambda X: X[["city", "inc"]],
    "renamed": lambda X: X.rename(columns={"city": "town"}),
    "renamed number": lambda X: X.rename(columns={"inc": "income"}),
}
NAMELESS = {
    "one less": lambda X: X[["inc"]].to_numpy(object),
    "one more": lambda X: X.assign(shop="Aldi").to_numpy(object),
    "one more first": lambda X: CHANGES["extra first"](X).to_numpy(object),
    "numbered": lambda X: CHANGES["extra first"](X).set_axis([0, 1, 2], axis=1),
}
CONTAINERS = {
    "pandas": lambda X: X,
    "polars": pl.from_pandas,
    "Arrow": pa.Table.from_pandas,
    "stream": lambda X: pa.Table.from_pandas(X).to_reader(),
}


@pytest.fixture(scope="module")
def models():
    """Fitted to a table with texts, and to one of numbers."""
    texts = farthing.Classifier(categorical_features=["city"], **QUICK).fit(TEXT, Y)
    return texts, farthing.Classifier(**QUICK).fit(NUMBERS, Y)


def teach(rows):
    return np.full(len(rows), 0.5)


def fitted_with(model, X, y):
    kind = farthing.Classifier(**model.get_params())
    return kind.fit(TEXT if model.categorical_features else NUMBERS, Y, eval_set=(X, y))


def distilled_with(model, X, y):
    own = TEXT if model.categorical_features else NUMBERS
    farthing.distill(teach, own, Y, student=model, augment=0, validation=(X, y))


CALLS = {
    "predict": lambda model, X, y: model.predict(X),
    "predict_proba": lambda model, X, y: model.predict_proba(X),
    "score": lambda model, X, y: model.score(X, y),
    "eval_set": fitted_with,
    "distill": distilled_with,
    "prune": lambda model, X, y: farthing.prune(model, X, y, sparsity=0.5),
    "quantize": lambda model, X, y: farthing.quantize(model, X),
    "validation": lambda model, X, y: farthing.quantize(
        model, TEXT if model.categorical_features else NUMBERS, Y, validation=(X, y)
    ),
    "model": lambda model, X, y: farthing.prune(model.model_, X, y, sparsity=0.5),
}


def told(call, model, X):
    with pytest.raises(ValueError) as error:
        CALLS[call](model, X, Y)
    return str(error.value)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("call", CALLS)
def test_other_columns_are_told_as_for_numbers(models, call, change):
    texts, numbers = models
    extra = {"shop", "day"}
    twin = CHANGES[change](NUMBERS)
    twin = twin.assign(**dict.fromkeys(extra.intersection(twin.columns), 1.0))
    expected = told(call, numbers, twin)
    assert "names should match" in expected or "must have the columns" in expected
    assert told(call, texts, CHANGES[change](TEXT)) == expected
    assert told(call, numbers, CHANGES[change](NUMBERS)) == expected


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("change", ["missing text", "extra text", "extra date", "reordered"])
def test_in_every_container(models, container, change):
    texts, _ = models
    expected = told("predict", texts, CHANGES[change](TEXT))
    assert "names should match" in expected
    assert told("predict", texts, CONTAINERS[container](CHANGES[change](TEXT))) == expected


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("change", NAMELESS)
@pytest.mark.parametrize("call", CALLS)
def test_columns_without_names_are_counted_first(models, call, change):
    for model, X in zip(models, (TEXT, NUMBERS), strict=True):
        given = NAMELESS[change](X)
        found = given.shape[1]
        says = f"{found} features, but|2 features, as .*got {found}"
        assert re.search(says, told(call, model, given))


def test_a_warning_of_names_points_at_the_call(models):
    with pytest.warns(UserWarning, match="does not have valid feature names") as told:
        models[1].predict(NUMBERS.to_numpy())
    assert told[0].filename == __file__


def test_the_check_comes_before_categories_and_values():
    seen = []

    def check(names, width):
        seen.append((names, width))
        raise KeyError("stop")

    with pytest.raises(KeyError):
        as_matrix(TEXT, categories={7: ["Ulm"]}, check=check)
    with pytest.raises(KeyError):
        as_matrix(TEXT.to_numpy(object), check=check)
    assert seen == [(("inc", "city"), 2), (None, 2)]
