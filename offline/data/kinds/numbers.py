"""Numbers as people write them: 9.99, 9,99, 1,299.00, 1.299,00, 1 299,00, € 9.99, 12 %."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from model_store.attributes import MAX_INTEGER

# A few bad values ("about 5", "1995?") don't turn a column of numbers into one of texts.
NUMBERS_SHARE = 0.95
MISSING = (
    *("", "-", "--", "—", "?", ".", "n/a", "#n/a", "#n/v", "na", "n.a.", "nan", "nat", "<na>"),
    *("null", "(null)", "none", "nil", "\\n", "undefined", "unknown"),
)
"""Texts that say in lower case that there is no value."""

# A code with a leading zero (a zip code, a part number) is a name, and so are its neighbours.
_CODE = r"^[+-]?0\d+$"
_UNIT = r"(?i)(?:[€$£¥₹₽₺₩]|\b(?:usd|eur|gbp|chf|jpy|cad|aud|inr|sek|nok|dkk|pln|czk|brl|kr)\b|%)"
_INTEGER = r"(?:0|[1-9]\d*)"


def _pattern(point: str, thousands: str) -> str:
    # Hundreds of thousands are two digits each in India: 12,34,567.
    grouped = rf"[1-9]\d{{0,2}}(?:[{thousands}]\d{{2,3}})*[{thousands}]\d{{3}}"
    fraction = rf"{point}\d+"
    power = r"(?:[eE][+-]?\d+)?"
    return rf"^[+-]?(?:(?:{_INTEGER}|{grouped})(?:{fraction}|{point})?|{fraction}){power}$"


# Digits and marks of Arabic and Persian, and other characters for a minus and an apostrophe.
_SPELLINGS = {
    **{chr(zero + n): str(n) for zero in (0x0660, 0x06F0) for n in range(10)},
    "\u066b": ".",
    "\u066c": ",",
    "\u2212": "-",
    "\u2019": "'",
}

_WITH_POINT = _pattern(r"\.", ",' ")
_WITH_COMMA = _pattern(",", ".' ")


@dataclass(frozen=True)
class ReadNumbers:
    """A column of numbers.

    Attributes:
        values: Float64 [n], finite; null where there is no number.
        is_slip: Boolean [n], whether a text stands there that is no number and not "n/a" or so.
        detail: how they were read, for people.
    """

    values: pl.Series
    is_slip: pl.Series
    detail: str


def as_floats(values: pl.Series) -> npt.NDArray[np.float64]:
    """Numbers, or texts of them, as an array of its own, float64 [n]; NaN where there is none."""
    if not values.dtype.is_integer() or values.has_nulls():
        return values.cast(pl.Float64, strict=False).to_numpy(writable=True)
    floats, start = np.empty(len(values)), 0
    for chunk in values.get_chunks():  # without a copy that puts them together
        floats[start : start + len(chunk)] = chunk.to_numpy()
        start += len(chunk)
    return floats


def find_leading_zero(texts: pl.Series) -> str | None:
    """Why a column of digits holds codes and no numbers, for people; None where it doesn't."""
    are_digits = texts.str.contains(r"^[+-]?\d+$")
    if are_digits.sum() < NUMBERS_SHARE * (len(texts) - texts.null_count()):
        return None  # "05.50" is a price
    codes = texts.filter(texts.str.contains(_CODE))
    return f"codes: {codes[0]!r} has a leading zero" if len(codes) else None


def find_too_long(texts: pl.Series) -> str | None:
    """Why a column of numbers holds codes instead, for people; None where it doesn't."""
    digits = texts.filter(texts.str.contains(r"^[+-]?\d{16,}$"))
    # Float64 is exact up to here; above, two ids could become one number.
    sizes = digits.cast(pl.Int64, strict=False).abs()
    large = digits.filter(sizes.is_null() | (sizes > MAX_INTEGER))
    return f"codes: {large[0]!r:.60} is too long for a number" if len(large) else None


def are_blank(values: pl.Series) -> pl.Series:
    """Whether a value is missing, or a text that says so, Boolean [n] without nulls."""
    if values.dtype != pl.String:
        return values.is_null()
    return values.str.strip_chars().str.to_lowercase().is_in(MISSING).fill_null(value=True)


def read_numbers(texts: pl.Series) -> ReadNumbers:
    """The numbers of a column of text; the whole column has one decimal mark and one unit."""
    cleaned = texts.str.replace_all("[\u00a0\u202f\u2009]", " ").str.replace_many(_SPELLINGS)
    # As accountants and SAP write what is below zero.
    cleaned = cleaned.str.strip_chars().str.replace(r"^\(([\d.,' ]+)\)$|^([\d.,' ]+)-$", "-$1$2")
    missing = are_blank(cleaned)
    cleaned = cleaned.set(missing, None)
    unit, bare = _without_unit(cleaned)
    point, comma = bare.str.contains(_WITH_POINT), bare.str.contains(_WITH_COMMA)
    if int(comma.sum() or 0) > int(point.sum() or 0):
        mark, marked, grouping = "decimal comma", comma, ".' "
    else:
        mark, marked, grouping = "decimal point", point, ",' "
    plain = bare.set(~marked.fill_null(value=False), None).str.replace_all(f"[{grouping}]", "")
    values = plain.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    values = values.set(~values.is_finite().fill_null(value=True), None)
    detail = _describe(bare, mark, grouping, unit)
    return ReadNumbers(values, values.is_null() & ~missing, detail)


def are_numbers(read: ReadNumbers) -> bool:
    """Whether nearly all values that are given are numbers."""
    n_numbers, n_slips = len(read.values) - read.values.null_count(), int(read.is_slip.sum())
    return n_numbers > 0 and n_numbers >= NUMBERS_SHARE * (n_numbers + n_slips)


def _without_unit(texts: pl.Series) -> tuple[str, pl.Series]:
    """The one currency or percent sign of all values, "" if there is none, and the rest of them."""
    found = texts.str.extract(f"({_UNIT})", 1)
    given = found.drop_nulls()
    n_given = len(texts) - texts.null_count()
    if len(given) < NUMBERS_SHARE * n_given or given.n_unique() != 1:
        return "", texts
    rest = texts.str.replace(_UNIT, "").str.strip_chars()
    return str(given[0]), rest.str.replace(r"^([+-])\s+", "${1}")


def _describe(texts: pl.Series, mark: str, grouping: str, unit: str) -> str:
    parts = []
    decimal = "," if mark == "decimal comma" else "."
    if texts.str.contains(decimal, literal=True).any():
        parts.append(f"with a {mark}")
    if texts.str.contains(rf"\d[{grouping}]\d{{3}}").any():
        parts.append("with separated thousands")
    if unit:
        parts.append(f"in {unit}")
    if not parts:
        return "whole numbers"
    return "numbers " + " and ".join(parts)
