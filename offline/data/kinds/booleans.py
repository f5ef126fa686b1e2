"""Truth values in the spellings of databases and of spreadsheets in several languages."""

from __future__ import annotations

import polars as pl

from offline.data.kinds.numbers import are_blank

PAIRS = (
    *(("true", "false"), ("yes", "no"), ("on", "off"), ("y", "n"), ("t", "f")),
    *(("wahr", "falsch"), ("ja", "nein"), ("vrai", "faux"), ("oui", "non")),
    *(("verdadero", "falso"), ("sí", "no"), ("si", "no")),
)


def read_booleans(texts: pl.Series) -> tuple[pl.Series, str] | None:
    """Truth values, Boolean [n], and the spelling; None where a column holds others.

    0 and 1 are numbers. One letter alone all over a column is a code, such as a size.
    """
    lower = texts.str.strip_chars().str.to_lowercase().set(are_blank(texts), None)
    found = set(lower.drop_nulls().unique().head(3).to_list())
    for true, false in PAIRS:
        if found and found <= {true, false} and (len(found) == 2 or len(true) > 1):
            return lower == true, f"{true}/{false}"
    return None
