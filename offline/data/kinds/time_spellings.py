"""Spellings of times that one of the known shapes hides behind: brackets, digits of other scripts.

Only texts that are no time as they stand come here, so that it may cost a little.
"""

from __future__ import annotations

import polars as pl

_INVISIBLE = "[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060\ufeff]"
_DASHES = "[\u2010-\u2015\u2212]"
# Arabic, Persian and Devanagari digits; those of East Asian width are composed away.
_DIGITS = {
    chr(zero + value): str(value) for zero in (0x0660, 0x06F0, 0x0966) for value in range(10)
}
# What each pattern becomes, in this order.
_SPELLINGS = (
    # .NET's JSON, MongoDB's, and calls such as Timestamp('...') or ISODate("...").
    (r"^\\?/Date\((-?\d+)(?:[+-]\d{4})?\)\\?/$", "$1"),
    (r'^\{\s*"?\$date"?\s*:\s*(?:\{\s*"?\$numberLong"?\s*:)?', ""),
    (r"^(?:new\s+)?[A-Za-z_.]+\(", ""),
    # Quotes and brackets around it; ="..." keeps a spreadsheet from reading it as a number.
    (r"^[\s=\"'`\[({@]+", ""),
    (r"[\s\"'`\])};]+$", ""),
    # Words of the clock and the calendar that other languages put around numbers.
    (r"(?i)\b(?:uhr|um|à|ore|alle|kl|horas?)\b\.?", " "),
    (r"[年년]\s*|[月월]\s*", "-"),
    (r"[日일]\s*", " "),
    (r"[時时點点시]\s*", ":"),
    (r"[分분]\s*(\d)", ":$1"),
    (r"[分秒분초:]\s*$", ""),
    # A weekday before a date, in whatever language.
    (r"^[^\W\d_]+\.?,?\s+(\d.*\D)", "$1"),
    # 2019:10:01 as cameras write it, 2019-10-01-09-30-00 and 2019_10_01_09_30_00 as in file names.
    (r"^(\d{4}):(\d\d):(\d\d)\b", "$1-$2-$3"),
    (r"^(\d{4})[-_](\d\d)[-_](\d\d)[-_ T](\d\d)[-_](\d\d)[-_](\d\d)$", "$1-$2-$3 $4:$5:$6"),
    (r"^(\d{4})[-_](\d\d)[-_](\d\d)$", "$1-$2-$3"),
    (r";", " "),
    # Git puts the zone behind the year.
    (r"^(\D.*:\d\d) (\d{4}) ([+-]\d{4})$", "$1 $3 $2"),
    # Counts with a decimal comma, separated thousands, or their unit.
    (r"^(\d+),(\d+(?:[eE][+-]?\d+)?)$", "$1.$2"),
    (r"^(\d{9,})\s*(?:s|ms|us|ns|sec|seconds)$", "$1"),
    (r"[:,\s]+$", ""),
)
# At least ten digits: seconds since 1970 with a mark or blank between thousands.
_GROUPED = r"^\d{1,3}(?:[,.' ]\d{3}){3,}$"


def respelled(texts: pl.Series) -> pl.Series:
    """Texts with the same times in a spelling that may be known."""
    texts = texts.str.normalize("NFKC").str.replace_many(_DIGITS)
    texts = texts.str.replace_all(_INVISIBLE, "").str.replace_all(_DASHES, "-").str.strip_chars()
    for pattern, replacement in _SPELLINGS:
        texts = texts.str.replace_all(pattern, replacement)
    grouped = texts.str.contains(_GROUPED).fill_null(value=False)
    if grouped.any():
        texts = texts.set(grouped, None).fill_null(texts.str.replace_all(r"[,.' ]", ""))
    return texts.str.replace_all(r"\s+", " ").str.strip_chars()
