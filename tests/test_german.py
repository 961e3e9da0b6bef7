"""The golden models of German credit: the same bits from every container, and from C."""

import shlex
import subprocess
import sys
from os import environ
from pathlib import Path

import german
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import farthing

FIXTURES = Path(__file__).parent / "fixtures"
KINDS = ("german_int4", "german_int8", "german_float")
CC = shlex.split(environ.get("CC", "cc"))

HOST = r"""
#include <farthing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Scores rows of tab-separated texts: a category by its text, anything else as a number. */
int main(int argc, char **argv) {
    ft_model *model;
    if (argc != 2 || ft_open(argv[1], &model)) return 1;
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        float row[64], score;
        char *cell = strtok(line, "\t\n");
        for (size_t i = 0; i < ft_features(model); i++, cell = strtok(NULL, "\t\n"))
            if (!cell) return 2;
            else if (ft_category(model, i, cell, &row[i])) row[i] = strtof(cell, NULL);
        if (ft_predict(model, row, 1, &score)) return 3;
        uint32_t bits;
        memcpy(&bits, &score, sizeof bits);
        printf("%08x\n", bits);
    }
    ft_close(model);
    return 0;
}
"""


@pytest.fixture(params=KINDS)
def golden(request):
    """(path of the model, its scores)."""
    bits = [int(line, 16) for line in (FIXTURES / f"{request.param}.txt").read_text().split()]
    assert len(bits) == 1000
    return FIXTURES / f"{request.param}.farthing", np.array(bits, np.uint32).view(np.float32)


def containers():
    X = german.data()[0]
    rows = X.to_dict("records")
    return {
        "pandas": X,
        "pandas categories": X.astype(dict.fromkeys(german.text_columns(), "category")),
        "another order": X[X.columns[::-1]],
        "polars": pl.from_pandas(X),
        "Arrow": pa.Table.from_pandas(X),
        "a stream of batches": pa.Table.from_pandas(X).to_reader(max_chunksize=300),
        "dicts": rows,
        "lists": [list(row.values()) for row in rows],
        "objects": X.to_numpy(object),
    }


@pytest.mark.parametrize("isa", farthing.isas())
def test_the_same_bits_from_every_container(golden, isa):
    path, expected = golden
    farthing.set_isa(isa)
    try:
        scorer = farthing.load(path)
    finally:
        farthing.set_isa(None)
    for name, x in containers().items():
        assert np.array_equal(scorer.predict(x), expected), name
    one = [scorer.predict(row) for row in containers()["dicts"][:50]]
    assert np.array_equal(np.array(one, np.float32), expected[:50])


def test_the_same_bits_from_c(golden, tmp_path):
    path, expected = golden
    (tmp_path / "host.c").write_text(HOST)
    flags = subprocess.run(
        [sys.executable, "-m", "farthing", "--cflags", "--libs"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    host = tmp_path / "host"
    subprocess.run([*CC, tmp_path / "host.c", *flags, "-o", host], check=True)
    X = german.data()[0]
    lines = "".join("\t".join(map(str, row)) + "\n" for row in X.itertuples(index=False))
    out = subprocess.run([host, path], input=lines, capture_output=True, text=True, check=True)
    bits = [int(line, 16) for line in out.stdout.split()]
    assert np.array_equal(np.array(bits, np.uint32).view(np.float32), expected)


def test_unknown_and_missing_categories_take_other():
    scorer = farthing.load(FIXTURES / "german_int4.farthing")
    row = containers()["dicts"][0]
    unknown = scorer.predict({**row, "purpose": "yacht"})
    assert unknown == scorer.predict({**row, "purpose": None})
    assert unknown != scorer.predict(row)
    names = german.text_columns()
    assert list(scorer.categories) == names
    assert "radio/television" in scorer.categories["purpose"]


@pytest.mark.parametrize("embedding_dim", [None, 3])
def test_a_fitted_model_equals_its_file(tmp_path, embedding_dim):
    X, y = german.data()
    model = farthing.Classifier(
        (16,),
        categorical_features="from_dtype",
        embedding_dim=embedding_dim,
        positive="bad",
        max_epochs=6,
        random_state=0,
    ).fit(X, y)
    assert farthing.metrics.auc(y == "bad", model.predict_proba(X)[:, 0]) > 0.8
    for fitted in (model, farthing.quantize(model, X, y, weight_bits=4, training="qat", epochs=1)):
        fitted.save(tmp_path / "m.farthing")
        scorer = farthing.load(tmp_path / "m.farthing")
        assert np.array_equal(scorer.predict(X), fitted.predict_proba(X)[:, 0])
        assert np.array_equal(scorer.decide(X), fitted.predict(X))
