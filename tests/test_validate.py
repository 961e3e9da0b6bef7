import numpy as np
import pytest

from farthing._validate import check_choice, check_fraction, check_integer, check_number


@pytest.mark.parametrize("value", [0, 0.5, np.float32(0.25), np.int64(0), np.float64(0.999)])
def test_numbers_within(value):
    check_number("[0, 1)", share=value)
    check_fraction(share=value)


@pytest.mark.parametrize(
    ("interval", "value", "error"),
    [
        ("[0, 1)", 1, ValueError),
        ("[0, 1)", -1e-9, ValueError),
        ("(0, inf)", 0, ValueError),
        ("[0, inf)", np.inf, ValueError),
        ("[0, 1]", np.nan, ValueError),
        ("[0, 1]", True, TypeError),
        ("[0, 1]", "0.5", TypeError),
        ("[0, 1]", None, TypeError),
        ("[0, 1]", np.array([0.5]), TypeError),
        ("[0, 1]", 0.5j, TypeError),
    ],
)
def test_numbers_outside(interval, value, error):
    with pytest.raises(error, match=r"share must be a number in .*, got") as raised:
        check_number(interval, share=value)
    assert interval in str(raised.value)


def test_integers():
    check_integer(1, epochs=1, patience=np.int8(5))
    check_integer(1, 4, epochs=4)
    for value in (0, 5, -1):
        with pytest.raises(ValueError, match=f"epochs must be an integer from 1 to 4, got {value}"):
            check_integer(1, 4, epochs=value)
    for value in (2.0, "2", None, True, np.arange(2)):
        with pytest.raises(TypeError, match="patience must be an integer >= 1, got"):
            check_integer(1, epochs=1, patience=value)


def test_other_values_that_pass():
    check_integer(1, also=("auto", None), size=None)
    check_number("(0, inf)", also=("auto",), rate=np.str_("auto"))
    with pytest.raises(TypeError, match="size must be an integer >= 1 or 'auto', got 'some'"):
        check_integer(1, also=("auto",), size="some")
    with pytest.raises(ValueError, match=r"rate must be a number in \(0, inf\) or None, got 0"):
        check_number("(0, inf)", also=(None,), rate=0)


@pytest.mark.parametrize("value", [8, np.int64(8), None, "auto", True])
def test_choices(value):
    check_choice((8, 4, None, "auto", True), bits=value)


@pytest.mark.parametrize("value", [1, 8.0, "8", False, np.array([8, 4]), [8]])
def test_what_is_no_choice(value):
    with pytest.raises(ValueError, match="bits must be one of 8, 4, True, got"):
        check_choice((8, 4, True), bits=value)
