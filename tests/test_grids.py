import numpy as np
import pytest

from farthing.activations import ACTIVATIONS, activate
from farthing.grids import Grid, GridView, fit_grid, lookup_table

AMAX = [127, 255]


def error(values, grid, amax, through=lambda v: v):
    return float(((through(grid.rounded(values, amax)) - through(values.copy())) ** 2).mean())


def test_codes_round_to_even_and_stay_in_range():
    grid = Grid(0.25, -1.0)
    values = np.array([-5, -1, -0.875, -0.625, 0, 30.75, 31])
    assert grid.codes(values, 127).tolist() == [0, 0, 0, 2, 4, 127, 127]
    assert grid.values(np.array([0.0, 127.0])).tolist() == [-1.0, 30.75]
    assert grid.rounded(values.astype(np.float32), 127).dtype == np.float32


@pytest.mark.parametrize("amax", AMAX)
def test_a_view_clamps_at_the_ends_of_its_grid(amax, rng):
    view = GridView(Grid(0.01, -0.3), amax)
    y = view(rng.normal(size=1000) * 3)
    assert y.min() == pytest.approx(view.lower) and y.max() == pytest.approx(view.limit)
    assert view.lower == -0.3 and view.limit == pytest.approx(-0.3 + 0.01 * amax)


@pytest.mark.parametrize("amax", AMAX)
def test_the_grid_beats_the_whole_range(amax, rng):
    values = rng.standard_t(3, size=20_000)
    whole = Grid(np.ptp(values) / amax, values.min())
    grid = fit_grid(values, amax)
    assert error(values, grid, amax) < 0.97 * error(values, whole, amax)
    assert grid.offset > values.min() and grid.offset + grid.scale * amax < values.max()


def test_both_ends_move_by_themselves(rng):
    values = rng.uniform(-1, 1, 200_000)
    values[0] = -3  # alone it is not worth half of the steps
    grid = fit_grid(values, 127)
    assert -1.2 < grid.offset < -0.9 and 0.9 < grid.offset + grid.scale * 127 < 1.2


@pytest.mark.parametrize(("activation", "end"), [("tanh", 8), ("sigmoid", 15), ("gelu", 40)])
def test_flat_ends_of_an_activation_are_left_out(activation, end, rng):
    values = rng.uniform(-40, 40, 50_000)

    def through(v):
        return activate(activation, v)[0]

    grid = fit_grid(values, 127, through=through)
    assert grid.offset > -15 and grid.offset + grid.scale * 127 <= end
    whole = Grid(80 / 127, -40.0)
    assert error(values, grid, 127, through) < 0.5 * error(values, whole, 127, through)


def test_a_fixed_lower_end_stays(rng):
    values = rng.exponential(size=1000)
    grid = fit_grid(values, 127, low=0.0)
    assert grid.offset == 0 and grid.scale * 127 <= values.max()


@pytest.mark.parametrize(
    ("values", "low"), [([], None), ([], 0.0), ([0.0, 0.0], 0.0), ([3.5, 3.5], None), ([-2.0], 0.0)]
)
def test_values_without_a_range(values, low):
    grid = fit_grid(np.array(values), 127, low=low)
    assert grid.scale > 0 and np.isfinite(grid.offset)
    if low is None:
        assert grid.rounded(np.array(values), 127).tolist() == values


@pytest.mark.parametrize("amax", AMAX)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_tables_hold_the_nearest_integers(activation, amax):
    before, after = Grid(12 / amax, -6.0), Grid(1.5 / amax, -0.4)
    table = lookup_table(activation, before, after, amax)
    assert table.dtype == np.uint8 and table.shape == (256,) and table.max() <= amax
    assert (table[amax:] == table[amax]).all()
    for u in range(amax + 1):
        z = np.array([-6.0 + 12 / amax * u])
        real = float(activate(activation, z)[0][0])
        nearest = min(range(amax + 1), key=lambda i: abs(-0.4 + 1.5 / amax * i - real))
        assert abs(int(table[u]) - nearest) <= (abs((real + 0.4) / (1.5 / amax) % 1 - 0.5) < 1e-9)
    if activation in ("tanh", "sigmoid", "relu", "linear"):
        assert (np.diff(table.astype(int)) >= 0).all()
