"""The demo's data, teacher, clocks and, on few rows, its whole course."""

import json
import lzma
import time
from dataclasses import asdict
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from farthing.demo import data, run, teacher, timing

PATH = Path(__file__).parent.parent / data.DEFAULT_PATH
STUDENT_KINDS = ("float32", "int8", "int4", "int4, 80% pruned")


@pytest.fixture(scope="module")
def table():
    return data.load(PATH)


@pytest.fixture(scope="module")
def course(table):
    """Rows and progress of a run on 2,500 rows with as little training as can be."""
    said = []
    rows = run.run(table.first(2500), rounds=1, epochs=1, say=said.append)
    return rows, said


# ---- data -------------------------------------------------------------------------------


def test_the_data_are_those_described(table):
    assert table.X.shape == (30_000, 23) and len(table.names) == 23
    assert "ID" not in table.names and data.LABEL not in table.names
    assert round(table.y.mean(), 4) == 0.2212
    assert table.names[0] == "LIMIT_BAL" and table.X[0, 0] == 20_000
    first = table.first(10)
    assert len(first.X) == len(first.y) == 10 and first.names == table.names


def test_a_plain_file_will_do_in_any_order_of_columns(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text(f'"B",{data.LABEL},"ID","A"\n1.5,1,7,-2\n3,0,8,1e3\n')
    read = data.load(path)
    assert read.names == ("B", "A")
    assert read.X.tolist() == [[1.5, -2.0], [3.0, 1000.0]] and read.y.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column 'default.payment.next.month'"),
        (b"ID,A,B\n1,2,3\n", "no column 'default.payment.next.month' among .*'B'"),
        (f"A,{data.LABEL}\n".encode(), "no rows"),
        (f"A,{data.LABEL}\n1,0\n2\n".encode(), "columns changed"),
        (f"A,{data.LABEL}\n1,0,5\n".encode(), "3 columns under 2 names"),
        (f"A,{data.LABEL}\nhigh,0\n".encode(), "'high'"),
        (b"\xff\xfe\x00", "codec can't decode"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.xz"])
def test_another_file_is_refused_by_name(content, says, suffix, tmp_path):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(lzma.compress(content) if suffix.endswith(".xz") else content)
    with pytest.raises(ValueError, match=says) as raised:
        data.load(path)
    assert "other.csv" in str(raised.value)


def test_a_damaged_archive_is_refused(tmp_path):
    whole = PATH.read_bytes()
    for name, content in (("cut", whole[:5000]), ("text", b"ID,A\n1,2\n")):
        path = tmp_path / f"{name}.xz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.xz must be the UCI credit-default CSV"):
            data.load(path)


def test_a_missing_file_says_where_the_data_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.csv does not exist.*--data"):
        data.load(tmp_path / "no.csv")


def test_the_split_is_stratified_disjoint_and_repeats(table):
    y = table.y[:2503]
    parts = data.split(y, seed=3)
    together = np.concatenate(parts)
    assert np.array_equal(np.sort(together), np.arange(2503))
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        for label in (0, 1):
            assert abs((y[part] == label).sum() - share * (y == label).sum()) <= 1
        assert (np.diff(part) > 0).all()
    assert all(map(np.array_equal, parts, data.split(y, seed=3)))
    assert not np.array_equal(parts.final, data.split(y, seed=4).final)


# ---- teacher ----------------------------------------------------------------------------


def test_the_teacher_learns_fit_and_search_for_as_many_trees_as_the_search_part_wants(table):
    X, y = table.X[:2500], table.y[:2500]
    parts = data.split(y, 0)
    booster = teacher.train_teacher(X, y, parts.fit, parts.search, seed=1)
    assert 5 < booster.num_trees() < teacher.MOST_TREES
    both = np.concatenate([parts.fit, parts.search])
    again = lightgbm.train(
        {**teacher.PARAMETERS, "seed": 1}, lightgbm.Dataset(X[both], y[both]), booster.num_trees()
    )
    assert np.array_equal(booster.predict(X), again.predict(X))
    given = teacher.train_teacher(X, y, parts.fit, parts.search, trees=3)
    assert given.num_trees() == 3


def test_the_fastest_call_is_the_boosters_own_prediction(table):
    X, y = table.X[:1200], table.y[:1200]
    booster = lightgbm.train({**teacher.PARAMETERS}, lightgbm.Dataset(X[:900], y[:900]), 20)
    rows = np.asfortranarray(X[900:].astype(np.float32))
    fast = teacher.FastRow(booster, rows)
    scores = []
    for i in range(len(rows)):
        fast.call(i)
        scores.append(fast.out[0])
    np.testing.assert_allclose(scores, booster.predict(rows.astype(np.float64)), rtol=1e-14)
    assert len(set(scores)) > 100


# ---- clocks -----------------------------------------------------------------------------


def test_single_calls_take_turns_over_all_rows():
    order = []
    calls = {
        "quick": lambda i: order.append(("quick", i)),
        "slow": lambda i: order.append(("slow", i)) or time.sleep(1e-3),
    }
    latency = timing.single_calls(calls, n_rows=5, rounds=3)
    assert len(order) == 2 * 5 * (1 + 3)
    turns = [order[start : start + 5] for start in range(0, len(order), 5)]
    for turn in turns:
        assert [i for _, i in turn] == list(range(5)) and len({name for name, _ in turn}) == 1
    for first, second in zip(turns[::2], turns[1::2], strict=True):
        assert {first[0][0], second[0][0]} == {"quick", "slow"}
    assert 0 <= latency["quick"].p50 <= latency["quick"].p99
    assert 900 < latency["slow"].p50 <= latency["slow"].p99
    assert latency["quick"].p50 < latency["slow"].p50


def test_batches_are_timed_round_by_round():
    calls = []
    seconds = timing.interleaved(
        {"wait": lambda: time.sleep(2e-3), "count": lambda: calls.append(1)}, rounds=4, inner=3
    )
    assert len(calls) == (1 + 4) * 3
    assert seconds["wait"].shape == (4,) and (seconds["wait"] >= 2e-3).all()


# ---- the whole course -------------------------------------------------------------------


def test_every_row_is_there(course):
    rows, _ = course
    first, second, *students = rows
    trees = first.model.partition(", ")[2]
    assert first.model.startswith("LightGBM") and trees.endswith("trees, predict")
    assert second.model == first.model.replace("predict", "fastest call")
    assert [row.model for row in students] == [
        f"student {hidden}, {kind}" for hidden in ("32-16", "64-32") for kind in STUDENT_KINDS
    ]


def test_every_figure_is_there(course):
    rows, _ = course
    for row in rows:
        assert 0.5 < row.auc_low < row.auc < row.auc_high < 1
        assert 0 < row.latency.p50 <= row.latency.p99 and row.slope > 0
    teachers, students = rows[:2], rows[2:]
    assert teachers[0].auc == teachers[1].auc
    assert teachers[0].rows_per_second > 0 and teachers[1].rows_per_second is None
    for row in teachers:
        assert (row.difference, row.verdict, row.file_bytes, row.table_bytes) == (None,) * 4
    for row in students:
        assert row.difference == pytest.approx(row.auc - teachers[0].auc)
        assert row.verdict in ("not worse", "worse", "not enough evidence")
        assert row.rows_per_second > 0
    for some in (students[:4], students[4:]):
        sizes = [row.file_bytes for row in some]
        assert sizes == sorted(sizes, reverse=True) and sizes[0] > 7 * sizes[-1]
        assert some[0].table_bytes >= some[1].table_bytes > 10_000


def test_the_rows_are_json(course):
    rows, _ = course
    documents = json.loads(json.dumps([asdict(row) for row in rows]))
    assert [document["model"] for document in documents] == [row.model for row in rows]
    assert documents[2]["latency"] == list(rows[2].latency)


def test_the_table_shows_every_row(course):
    rows, _ = course
    head, rule, *lines = run.table(rows).splitlines()
    assert set(rule) == {"-"} and len(rule) == max(map(len, [head, *lines]))
    assert head.split()[:2] == ["model", "AUC"] and head.endswith("rows/s")
    for row, line in zip(rows, lines, strict=True):
        assert line.startswith(row.model)
        assert f" {row.auc:.4f}  {row.auc_low:.4f}-{row.auc_high:.4f}" in line
        assert f" {row.latency.p50:.2f} " in line
        if row.verdict:
            assert f"{row.difference:+.4f}  {row.verdict}" in line
            assert f" {row.file_bytes:,} " in line


def test_progress_is_told(course, capsys):
    _, said = course
    text = "\n".join(said)
    for step in ("2,500 rows", "teacher: LightGBM", "distil 32-16", "distil 64-32", "int8"):
        assert step in text
    run.Progress()("now")
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "[  0.0 s] now\n"
