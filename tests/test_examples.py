import re
import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_linear_regression(capsys):
    runpy.run_path(str(EXAMPLES / "linear_regression.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    theta = {}
    for line in lines:
        name, value = re.match(r"(.*?) +theta = (-?\d+\.\d+)", line).groups()
        theta[name] = float(value)
    assert theta["least squares"] == 2.0
    assert theta["4 bits, article formula"] == theta["8 bits, article formula"] == 0.0
    for bits in (8, 4):
        assert abs(theta[f"{bits} bits, farthing.quantize"] - 2.0) <= 0.02
    assert len(lines) == 5


def test_the_articles_formula_by_hand():
    formula = runpy.run_path(str(EXAMPLES / "linear_regression.py"))["article_quantize"]
    # A step of 8 at 4 bits: nothing of 2 is left, 13 becomes 16.
    assert (formula(2.0, 4), formula(13.0, 4), formula(-13.0, 4)) == (0, 16, -16)


def test_there_are_no_examples_without_a_test():
    assert [path.name for path in EXAMPLES.glob("*.py")] == ["linear_regression.py"]
