"""The command line, within this process; `python -m farthing` in one of its own."""

import json
import subprocess
import sys
from pathlib import Path

import credit
import pytest

import farthing
from farthing.cli import main
from farthing.demo import data, run
from farthing.demo.timing import Latency

ROWS = [
    run.Row("LightGBM", 0.77, 0.76, 0.78, latency=Latency(20.0, 30.0)),
    run.Row("student", 0.76, 0.75, 0.77, -0.01, "worse", 1.0, 4000, 30000, Latency(0.2, 0.3), 9e6),
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "m.farthing"
    credit.fitted().save(path)
    return str(path)


def test_info(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == list(farthing.info())
    assert lines["farthing"] == farthing.__version__
    assert lines["isas"] == ", ".join(farthing.isas()) and lines["isas_removed"] == "none"


def test_info_as_json(capsys):
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == farthing.info()


def test_inspect(path, capsys):
    assert main(["inspect", path]) == 0
    text = capsys.readouterr().out
    scorer = farthing.load(path)
    assert f"model_id: {scorer.model_id}\n" in text and "n_features: 5\n" in text
    for name in ("dense0", "dense1", "dense2"):
        assert f"  name={name}  " in text


def test_inspect_as_json(path, capsys):
    assert main(["inspect", "--json", path]) == 0
    assert json.loads(capsys.readouterr().out) == farthing.load(path).describe()


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), (b"not a model", "m2.farthing: ")]
)
def test_a_bad_file_is_a_message_not_a_traceback(content, says, tmp_path, capsys):
    path = tmp_path / "m2.farthing"
    if content is not None:
        path.write_bytes(content)
    assert main(["inspect", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("farthing inspect: ") and says in captured.err


def test_demo_without_its_data_says_what_is_missing(tmp_path, capsys):
    assert main(["demo", "--data", str(tmp_path / "no.csv")]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("farthing demo: ")
    assert "no.csv does not exist" in captured.err and "--data" in captured.err


def test_demo_without_lightgbm_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(SystemExit, match=r"pip install 'farthing\[demo\]'"):
        main(["demo"])


@pytest.fixture
def given(monkeypatch):
    """What the demo hands to its course, which is not run."""
    seen = {}

    def course(table, *, seed):
        seen.update(table=table, seed=seed)
        return ROWS

    monkeypatch.setattr(run, "run", course)
    monkeypatch.setattr(data, "load", lambda path: seen.setdefault("path", path))
    return seen


def test_demo_prints_its_table_and_what_it_means(given, capsys):
    assert main(["demo", "--data", "d.csv", "--seed", "7"]) == 0
    assert given == {"path": "d.csv", "table": "d.csv", "seed": 7}
    text = capsys.readouterr().out
    assert text.startswith(run.table(ROWS)) and run.LEGEND in text
    assert f"margin of {run.MARGIN} AUC" in text


def test_demo_as_json(given, capsys):
    assert main(["demo", "--json"]) == 0
    assert given["path"] == data.DEFAULT_PATH and given["seed"] == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["model"] == "LightGBM" and first["verdict"] is None
    assert second["latency"] == [0.2, 0.3] and second["file_bytes"] == 4000


def test_ctrl_c_ends_quietly(monkeypatch, capsys):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "farthing demo: interrupted\n"


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["inspect"], ["info", "--loud"]])
def test_a_wrong_call_is_told_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: farthing" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["demo"], ["info"], ["inspect"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as raised:
        main([*command, "--help"])
    assert raised.value.code == 0
    assert "usage: farthing" in capsys.readouterr().out


def test_the_module_gives_all_flags_of_an_embedding_at_once():
    command = [sys.executable, "-m", "farthing", "--cflags", "--libs"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    include, folder, *libraries = result.stdout.split()
    assert (Path(include.removeprefix("-I")) / "farthing.h").is_file()
    assert (Path(folder.removeprefix("-L")) / "libfarthing.a").is_file()
    assert libraries == ["-lfarthing", "-lm"]
