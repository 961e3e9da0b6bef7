"""How each layer's weights are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from farthing._validate import FarthingError, check_choice, check_integer
from farthing.encoding import PiecewiseLinearEncoder
from farthing.layers import Dense
from farthing.model import Model

__all__ = ["WEIGHT_MAX", "WeightFormat", "formats_of"]


class _Default(int):
    """The value of an argument that was not given."""


WEIGHT_MAX = _Default(64)


@dataclass(frozen=True)
class WeightFormat:
    """Storage of one layer's weights."""

    bits: int
    weight_max: int
    group_size: int | None


def formats_of(
    model: Model, weight_bits, weight_max, group_size, auto: Callable[[Dense], int]
) -> dict[str, WeightFormat]:
    """The storage of every layer by name, from arguments that are checked here.

    auto: the ``weight_max`` of a layer of 8 bits that is to choose its own.
    """
    check_integer(1, 127, also=("auto",), weight_max=weight_max)
    names = [layer.name for layer in model.layers]
    if isinstance(weight_bits, dict):
        unknown = sorted(set(weight_bits) - set(names))
        missing = [name for name in names if name not in weight_bits]
        if unknown or missing:
            what = repr(unknown[0]) if unknown else f"nothing for {missing[0]!r}"
            raise FarthingError(f"weight_bits must name the layers {names}, got {what}")
        by_name = weight_bits
    else:
        by_name = dict.fromkeys(names, weight_bits)
    formats = {}
    for index, layer in enumerate(model.layers):
        bits = by_name[layer.name]
        check_choice((8, 7, 6, 4), **{f"weight_bits of {layer.name}": bits})
        largest = weight_max
        if bits in (7, 6):
            largest = {7: 63, 6: 31}[bits]
            if weight_max != largest and not isinstance(weight_max, _Default):
                raise FarthingError(
                    f"weight_max must be {largest} with weight_bits={bits}, got {weight_max!r}"
                )
            bits = 8
        if largest == "auto":
            largest = auto(layer) if bits == 8 else 7
        fused = index == 0 and isinstance(model.encoder, PiecewiseLinearEncoder)
        size = (
            group_size if bits == 4 and not fused and layer.n_inputs > (group_size or 0) else None
        )
        formats[layer.name] = WeightFormat(bits, int(largest), size)
    if weight_max == "auto" and all(form.bits == 4 for form in formats.values()):
        raise FarthingError(
            "weight_max must be an integer from 1 to 127 where no layer has 8 bits, got 'auto'"
        )
    if group_size is not None and all(form.bits == 8 for form in formats.values()):
        raise FarthingError(f"group_size must be None where no layer has 4 bits, got {group_size}")
    return formats
