"""German credit: 1,000 applicants, 13 of 20 features are categories of text."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

PATH = Path(__file__).parent.parent / "examples" / "data" / "german_credit.csv.xz"
TARGET = "creditability"


@cache
def data() -> tuple[pd.DataFrame, pd.Series]:
    """The features, texts as texts, and "good" or "bad"."""
    table = pd.read_csv(PATH, keep_default_na=False)
    return table.drop(columns=TARGET), table[TARGET]


def text_columns() -> list[str]:
    return [name for name, column in data()[0].items() if not pd.api.types.is_numeric_dtype(column)]
