"""The result that every paired test returns, and the normal quantiles it is built from."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Standard normal quantiles: one-sided 95 %, two-sided 95 %, and 80 % power.
Z_ONE_SIDED = 1.6448536269514722
Z_TWO_SIDED = 1.959963984540054
Z_POWER = 0.8416212335729143


@dataclass(frozen=True)
class PairedDifference:
    """How much better score a is than score b on the same rows.

    metric: its name. value_a, value_b: the metric of each. difference: signed so that
    negative means a is worse, for losses as well; all below are in its unit.
    standard_error: of the difference. lower, upper: its one-sided 95 % bounds (each on its
    own), infinite where the rows cannot bound it. interval: its two-sided 95 % interval.
    z, p_value: difference / standard_error, and the two-sided p value of "no difference" under
    a normal distribution. method: how they were found. rows, positives: how many rows, and how
    many with y = 1 (None for a regression). note: what is unusual, "" if nothing is.
    """

    metric: str
    value_a: float
    value_b: float
    difference: float
    standard_error: float
    lower: float
    upper: float
    interval: tuple[float, float]
    method: str
    rows: int
    positives: int | None
    note: str = ""

    @property
    def z(self) -> float:
        if self.standard_error == 0:
            return math.copysign(math.inf, self.difference) if self.difference else 0.0
        return self.difference / self.standard_error

    @property
    def p_value(self) -> float:
        return math.erfc(abs(self.z) / math.sqrt(2))

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.metric} {self.value_a:.6g} against {self.value_b:.6g}: difference "
            f"{self.difference:+.6f}, standard error {self.standard_error:.6f}, 95 % interval "
            f"{low:+.6f} to {high:+.6f}, p = {self.p_value:.3g} ({self.method}, {self.rows} rows)"
            + (f"; {self.note}" if self.note else "")
        )


def error_rate_bound(pairs: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of an error rate after `pairs` independent trials without an error.

    The exact binomial bound (Clopper and Pearson 1934, Biometrika 26:404-413), near 3/pairs.

    >>> round(error_rate_bound(300), 4)
    0.0099
    """
    return 1 - (1 - confidence) ** (1 / pairs)
