"""Metrics for scores and values, paired tests, and the rule that says "not worse".

Every function takes arrays (or anything numpy can read), one value a row: `y` is 0 or 1
(1 = the event, the *bad* row of a lender) or a real value in the functions for regression,
`score` any number where larger means likelier, `p` a probability in [0, 1].
"""

from __future__ import annotations

from farthing.metrics.bootstrap import paired_bootstrap
from farthing.metrics.calibration import Calibration, calibration
from farthing.metrics.comparison import PairedDifference
from farthing.metrics.delong import AucEstimate, delong, delong_paired
from farthing.metrics.evidence import (
    Evidence,
    fixed_sequence,
    non_inferiority,
    smallest_margin,
    verdict,
)
from farthing.metrics.pointwise import brier, log_loss, mae, mse, rmse
from farthing.metrics.ranking import auc, average_precision, gini, ks

__all__ = [
    "AucEstimate",
    "Calibration",
    "Evidence",
    "PairedDifference",
    "auc",
    "average_precision",
    "brier",
    "calibration",
    "delong",
    "delong_paired",
    "fixed_sequence",
    "gini",
    "ks",
    "log_loss",
    "mae",
    "mse",
    "non_inferiority",
    "paired_bootstrap",
    "rmse",
    "smallest_margin",
    "verdict",
]
