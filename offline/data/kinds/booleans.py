"""Truth values, written in words (`model_store/truth_words.py`)."""

from __future__ import annotations

import polars as pl

from model_store.truth_words import TRUTH_WORDS
from offline.data.kinds.numbers import are_blank


def read_booleans(texts: pl.Series) -> tuple[pl.Series, str] | None:
    """Truth values, Boolean [n], and the spelling; None where a column holds others.

    0 and 1 are numbers. One letter alone all over a column is a code, such as a size.
    """
    lower = texts.str.strip_chars().str.to_lowercase().set(are_blank(texts), None)
    found = set(lower.drop_nulls().unique().head(3).to_list())
    for true, false in TRUTH_WORDS:
        if found and found <= {true, false} and (len(found) == 2 or len(true) > 1):
            return lower == true, f"{true}/{false}"
    return None
