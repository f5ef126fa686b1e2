"""Ids as text."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

AS_THEY_STAND = "as they stand"
_NO_VALUE = ("null", "nan", "none", "\\n", "<na>", "(null)", "nat", "undefined")
_NUMBER = r"^[+-]?\d+(?:[.,]\d+)?$"
# As a spreadsheet shows long numbers: the digits that are left out may have told ids apart.
_SHORTENED = r"^\d(?:[.,]\d+)?[eE]\+\d+$"
# Of a column, which show at once in most that not all of its ids have something in common.
_SAMPLED_IDS = 50


def as_ids(values: pl.Series) -> pl.Series:
    """Ids as text, exactly as they stand; whole numbers become their decimal digits."""
    if values.dtype == pl.String:
        return values
    if not values.dtype.is_float():
        return values.cast(pl.String)
    # Integer columns with gaps arrive as floats from some writers: 7.0 means item 7.
    values = values.fill_nan(None)  # which pandas writes for a missing id
    whole = values.cast(pl.Int64, strict=False)
    is_whole = (whole.cast(values.dtype) == values).fill_null(value=False)
    return values.cast(pl.String).zip_with(~is_whole, whole.cast(pl.String))


def are_no_value(ids: pl.Series) -> pl.Series:
    """Whether ids are words for no value among numbers, Boolean [n]; elsewhere a word is an id."""
    are_words, others = _tell_words(ids.head(_SAMPLED_IDS))
    if not others.str.contains(_NUMBER).all():
        return pl.repeat(False, len(ids), dtype=pl.Boolean, eager=True)
    are_words, others = _tell_words(ids)
    return are_words & (len(others) > 0 and bool(others.str.contains(_NUMBER).all()))


def _tell_words(ids: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Whether ids are words for no value, Boolean [n], and the others that aren't empty."""
    are_words = ids.str.strip_chars().str.to_lowercase().is_in(_NO_VALUE).fill_null(value=False)
    return are_words, ids.filter(~are_words & (ids != ""))


def are_shortened(ids: pl.Series) -> pl.Series:
    """Whether ids look like numbers that lost digits, such as 1.23457E+12, Boolean [n]."""
    may_be = ids.str.contains("+", literal=True).fill_null(value=False)
    if not may_be.any():  # much faster to find
        return may_be
    return ids.str.contains(_SHORTENED).fill_null(value=False)


def as_meant(ids: Sequence[str]) -> tuple[list[str], str]:
    """Different ids of a column without what all of them have around them; how they were read.

    A program puts single quotes or ="…" around each value, or reads whole numbers with gaps as
    decimals and writes 7.0. What only some ids have is a part of them, and so it is where two ids
    would become one.
    """
    if not ids or _stand_bare(pl.Series(ids[:_SAMPLED_IDS], dtype=pl.String)):
        return list(ids), AS_THEY_STAND
    texts, details = pl.Series(ids, dtype=pl.String), []
    for what, strip in _WRAPPINGS:
        bare = strip(texts)
        if bare is not None and bare.n_unique() == len(texts):
            details.append(f"{what}: {texts[0]!r:.40} is read as {bare[0]!s:.40}")
            texts = bare
    return texts.to_list(), "; ".join(details) or AS_THEY_STAND


def _stand_bare(some: pl.Series) -> bool:
    """Whether some ids of a column show that not all have the same around them."""
    return all(strip(some) is None for _, strip in _WRAPPINGS)


def _without_quotes(texts: pl.Series) -> pl.Series | None:
    """Texts that all stand in quotes, or behind the one that makes a text of a cell."""
    if len(texts) < 2:  # a single id may be called so
        return None
    for pattern in (
        r'^="([^"]+)"$',
        r"^'([^']+)'$",
        r'^"([^"]+)"$',
        r"^`([^`]+)`$",
        r"^'(\d[^']*)$",
    ):
        if texts.str.contains(pattern).all():
            return texts.str.extract(pattern, 1)
    return None


def _without_fraction(texts: pl.Series) -> pl.Series | None:
    if not texts.str.contains(r"^-?(?:0|[1-9]\d*)[.,]0+$").all():
        return None
    return texts.str.replace(r"[.,]0+$", "")


_WRAPPINGS = (
    ("without quotes around them", _without_quotes),
    ("whole numbers", _without_fraction),
)
