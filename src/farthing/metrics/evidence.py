"""The decision rule: is a replacement not worse than its reference, by a stated margin?

A paired non-inferiority test with three answers, on rows that nothing has seen.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence, Sized
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from farthing._validate import FarthingError
from farthing.metrics._rows import as_columns
from farthing.metrics.bootstrap import group_codes, paired_bootstrap
from farthing.metrics.catalogue import MetricFunction
from farthing.metrics.comparison import Z_ONE_SIDED, Z_POWER, PairedDifference
from farthing.metrics.delong import delong_paired

NOT_WORSE, WORSE, UNDECIDED = "not worse", "worse", "not enough evidence"

# Below this many rows (or groups) of a class the normal approximation of both methods, and with
# it the error rate of the rule, is not to be relied on.
MIN_PER_CLASS = 30
MAX_CANDIDATES = 5


@dataclass(frozen=True)
class Evidence:
    """What a final part says about a replacement; `str()` prints it in a few lines.

    verdict: "not worse", "worse" or "not enough evidence". metric: its name. reference,
    value: the metric of the reference and of the replacement. margin: the loss that was
    agreed to be tolerable, in the metric's unit. difference: signed so that negative is
    worse, for losses as well. lower, upper: its one-sided 95 % bounds. standard_error: of the
    difference. smallest_margin: the smallest margin that as many such rows would pass with 80 %
    power when nothing was lost. rows, positives: how many rows, and how many with y = 1, the
    bad rows (None for a regression). method: the test. reason: one sentence.
    """

    verdict: str
    metric: str
    reference: float
    value: float
    margin: float
    difference: float
    lower: float
    upper: float
    standard_error: float
    smallest_margin: float
    rows: int
    positives: int | None
    method: str
    reason: str

    @property
    def interval(self) -> tuple[float, float]:
        """(lower, upper): a two-sided 90 % interval of the difference."""
        return self.lower, self.upper

    def __str__(self) -> str:
        bad = "" if self.positives is None else f", {self.positives:,} bad"
        return (
            f"{self.verdict}: {self.reason}\n"
            f"  {self.metric} {self.value:.6g}, reference {self.reference:.6g}, "
            f"margin {self.margin:g}\n"
            f"  difference {self.difference:+.6f} (negative is worse), one-sided 95 % bounds "
            f"{self.lower:+.6f} and {self.upper:+.6f}\n"
            f"  {self.rows:,} rows{bad}; {self.method}; smallest margin these rows can show "
            f"{self.smallest_margin:.2g}"
        )


def smallest_margin(standard_error: float) -> float:
    """The smallest margin passed with 80 % power when nothing was lost: 2.49 standard errors.

    standard_error: of the difference, >= 0, in the metric's unit. The rule passes when
    d - 1.645 SE > -margin; with d normal around 0 that happens in 80 % of the cases at
    margin = (1.645 + 0.842) SE.

    >>> round(smallest_margin(0.002), 5)
    0.00497
    """
    return (Z_ONE_SIDED + Z_POWER) * standard_error


def verdict(lower: float, upper: float, margin: float) -> str:
    """The rule on the one-sided 95 % bounds of a difference whose negative side is worse.

    "not worse" when lower > -margin, "worse" when upper < -margin, else "not enough
    evidence". margin: > 0, in the unit of the bounds. Raises ValueError for a margin that is
    not above 0, NaN, or lower > upper. A replacement whose true loss equals the margin is
    called "not worse" in at most 5 % of all final parts.

    Source: Piaggio et al. (2012), "Reporting of noninferiority and equivalence randomized
    trials: extension of the CONSORT 2010 statement", JAMA 308:2594-2604.

    >>> verdict(-0.003, 0.001, margin=0.005)
    'not worse'
    >>> verdict(-0.009, -0.006, margin=0.005)
    'worse'
    >>> verdict(-0.009, 0.004, margin=0.005)
    'not enough evidence'
    """
    _check_margin(margin)
    if not lower <= upper:
        raise FarthingError(f"lower must not exceed upper, got {lower!r} and {upper!r}")
    if lower > -margin:
        return NOT_WORSE
    return WORSE if upper < -margin else UNDECIDED


def _check_margin(margin: float) -> None:
    try:
        valid = 0 < float(margin) < math.inf
    except (TypeError, ValueError):
        raise TypeError(f"margin must be a number above 0, got {margin!r}") from None
    if not valid:
        raise FarthingError(f"margin must be a finite number above 0, got {margin!r}")


def non_inferiority(
    y: ArrayLike,
    score: ArrayLike,
    reference_score: ArrayLike,
    *,
    metric: str | MetricFunction = "auc",
    margin: float,
    groups: Sequence[Hashable] | np.ndarray | None = None,
    sample_weight: ArrayLike | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> Evidence:
    """Whether `score` is not worse than `reference_score` by more than `margin`.

    y, score, reference_score: (n,), rows that neither model was trained or chosen on.
    metric, groups, sample_weight, random_state: as in `paired_bootstrap`. margin: > 0, the
    tolerable loss in the metric's unit, fixed before looking.

    AUC without weights and groups is tested by DeLong (`delong_paired`), everything else by
    2,000 paired bootstrap resamples. With fewer than 30 rows (or groups that hold such rows)
    of either class, or 30 rows in a regression, the answer is "not enough evidence"
    whatever the bounds. Raises ValueError for one class only, NaN or unequal lengths.

    Source: as `verdict`, `delong_paired` and `paired_bootstrap`.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = rng.random(4000) < 0.25
    >>> teacher = y + rng.normal(0, 1, 4000)
    >>> print(non_inferiority(y, np.round(teacher, 1), teacher, margin=0.005))
    not worse: a loss of 0.005 or more is ruled out; a real loss, within the margin
      auc 0.747602, reference 0.748084, margin 0.005
      difference -0.000481 (negative is worse), one-sided 95 % bounds -0.000938 and -0.000025
      4,000 rows, 1,014 bad; DeLong; smallest margin these rows can show 0.00069
    """
    _check_margin(margin)
    if metric == "auc" and groups is None and sample_weight is None:
        compared = delong_paired(y, score, reference_score)
    else:
        compared = paired_bootstrap(
            y,
            score,
            reference_score,
            metric,
            groups=groups,
            sample_weight=sample_weight,
            random_state=random_state,
        )
    shortage = _shortage(y, compared, groups, sample_weight)
    answer = UNDECIDED if shortage else verdict(compared.lower, compared.upper, margin)
    # A standard error of 0 says nothing of power; the lower bound is then all there is.
    smallest = smallest_margin(compared.standard_error) or compared.difference - compared.lower
    return Evidence(
        verdict=answer,
        metric=compared.metric,
        reference=compared.value_b,
        value=compared.value_a,
        margin=float(margin),
        difference=compared.difference,
        lower=compared.lower,
        upper=compared.upper,
        standard_error=compared.standard_error,
        smallest_margin=smallest,
        rows=compared.rows,
        positives=compared.positives,
        method=compared.method,
        reason=shortage or _reason(answer, compared, margin, smallest),
    )


def _shortage(
    y: ArrayLike,
    compared: PairedDifference,
    groups: Sequence[Hashable] | np.ndarray | None,
    sample_weight: ArrayLike | None,
) -> str:
    """Why the rows are too few to decide, or ""."""
    (y,) = as_columns(y=y)
    counted = np.ones(len(y), bool) if sample_weight is None else np.asarray(sample_weight) > 0
    unit = np.arange(len(y)) if groups is None else group_codes(groups, len(y))
    kinds = {"": counted}
    if compared.positives is not None:
        kinds = {"bad ": counted & (y == 1), "good ": counted & (y == 0)}
    for kind, members in kinds.items():
        found = len(np.unique(unit[members]))
        if found < MIN_PER_CLASS:
            noun = "rows" if groups is None else "rows' groups"
            return f"only {found} {kind}{noun}, at least {MIN_PER_CLASS} are needed"
    return ""


def _reason(answer: str, compared: PairedDifference, margin: float, smallest: float) -> str:
    if answer == NOT_WORSE:
        reason = f"a loss of {margin:g} or more is ruled out"
    elif answer == WORSE:
        reason = f"a loss of more than {margin:g} is shown"
    else:
        reason = f"a loss of {margin:g} is neither ruled out nor shown"
        if smallest > margin:
            reason += f", these rows can show a margin of {smallest:.2g} at best"
    if compared.upper < 0 < compared.lower + margin:
        reason += "; a real loss, within the margin"
    return f"{reason}; {compared.note}" if compared.note else reason


def fixed_sequence(evidences: Iterable[Evidence]) -> int | None:
    """Index of the last candidate that passes, tested in order until the first that fails.

    evidences: at most five, in an order fixed beforehand from the safest candidate to the
    smallest; read one at a time, so a generator tests no candidate beyond the first failure.
    None if the first fails. Each is tested at 5 %, and the chance of passing any that should
    fail stays at 5 % without a correction. Raises ValueError for more than five.

    Source: Maurer, Hothorn and Lehmacher (1995), in "Biometrie in der chemisch-pharmazeutischen
    Industrie" 6:3-18; Westfall and Krishen (2001), J. Stat. Plan. Inference 99:25-40.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = rng.random(4000) < 0.25
    >>> teacher = y + rng.normal(0, 1, 4000)
    >>> candidates = [np.round(teacher, 2), np.round(teacher, 1), np.sign(teacher)]
    >>> fixed_sequence(non_inferiority(y, s, teacher, margin=0.005) for s in candidates)
    1
    """
    if isinstance(evidences, Sized) and len(evidences) > MAX_CANDIDATES:
        raise FarthingError(_too_many(f"{len(evidences)}"))
    passed = None
    for index, evidence in enumerate(evidences):
        if index == MAX_CANDIDATES:
            raise FarthingError(_too_many("more"))
        if evidence.verdict != NOT_WORSE:
            break
        passed = index
    return passed


def _too_many(given: str) -> str:
    return f"evidences must be at most {MAX_CANDIDATES} candidates for one final part, got {given}"
