"""Times that are texts: dates and times of day, read by the positions of their digits.

The shape of a text is the text with every digit as 0. All texts of a shape have the same parts at
the same positions, so a shape is understood once, and its texts are read as arrays of bytes. The
parser of polars takes one format for a whole column, and a person would have to name it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from offline.data.kinds.calendar import Floats, Integers, clock_seconds, date_seconds

# English, and where they begin differently German, French, Spanish, Italian, Portuguese, Dutch,
# Swedish, Danish and Russian ones.
_MONTH_NAMES = (
    *("jan ene gen янв", "feb fév fev фев", "mar mär mrt мар", "apr avr abr апр"),
    *("may mai mei mag maj май мая", "jun juin giu июн", "jul juil lug июл", "aug aoû ago авг"),
    *("sep set сен", "oct okt ott out окт", "nov ноя", "dec dez déc dic des дек"),
)
MONTHS = {name: n for n, names in enumerate(_MONTH_NAMES, start=1) for name in names.split()}
# Hours ahead of UTC. Names that stand for several zones, such as IST, are left out.
_ZONES_BY_HOURS = {
    0: "z utc gmt ut wet",
    1: "cet west bst",
    2: "cest eet",
    3: "eest msk",
    9: "jst kst",
}
_ZONES_BY_HOURS |= {-4: "edt", -5: "est cdt", -6: "cst mdt", -7: "mst pdt", -8: "pst"}
_ZONES_BY_HOURS |= {8: "hkt sgt awst", 10: "aest", 11: "aedt", 12: "nzst", 13: "nzdt", -3: "brt"}
_ZONES_BY_HOURS |= {-10: "hst"}
ZONES = {name: hours for hours, names in _ZONES_BY_HOURS.items() for name in names.split()}

DateOrder = Literal["DMY", "MDY", "YMD"]
"""What the first, second and third number of a date are, where its text doesn't tell."""

_ZERO = ord("0")
_MAX_DIGITS = 9  # of a part: nanoseconds have as many
_CACHED_ROWS = 32_768

_NAME = rf"(?P<name>{'|'.join(sorted(MONTHS, key=len, reverse=True))})[^\W\d_]*\.?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s*)?"
_HALF = r"(?:\s?(?P<half>[ap])\.?\s?m\.?(?![a-z]))"
_SECONDS = r"(?:[:.](?P<s>00)(?:[.,:](?P<f>0+))?)?"
_CLOCK = rf"(?P<h>00?)(?:[:.h](?P<min>00){_SECONDS})?{_HALF}?"
_OFFSET = r"(?:(?P<sign>[+-])(?P<oh>00?)(?::?(?P<om>00))?(?::?00)?)"
_ZONE = (
    rf"\s*(?:(?P<zone>{'|'.join(sorted(ZONES, key=len, reverse=True))})(?![a-z/]))?\s*{_OFFSET}?"
    r"\s*(?:\[[^\]]*\]|\([^)]*\))?\s*(?P<region>[a-z]+/[a-z_/]+)?"
)
_DATES = (
    r"(?P<y>0000)[-/. ](?P<m>00?)[-/. ](?P<d>00?)",
    r"(?P<a>00?)(?P<sep>[-/. ])(?P<b>00?)(?P=sep)(?P<y>0000|00)",
    rf"(?P<d>00?)(?:st|nd|rd|th)?(?:[-/.,\s]|de\b|of\b)*{_NAME}(?:[-/.,\s]|de\b)*(?P<y>0000|00)",
    rf"{_NAME}[-/\s]*(?P<d>00?)(?:st|nd|rd|th)?[-/,\s]+(?P<y>0000)",
    rf"(?P<y>0000)[-/\s]{_NAME}[-/\s](?P<d>00?)",
)
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        *(rf"{_WEEKDAY}{date}(?:(?:[t,\s:_-]|at\b)+{_CLOCK})?{_ZONE}" for date in _DATES),
        rf"(?P<y>0000)(?P<m>00)(?P<d>00)(?:[t\s_-]{_CLOCK})?{_ZONE}",
        rf"(?P<y>0000)(?P<m>00)(?P<d>00)[t\s_-](?P<h>00)(?P<min>00)(?P<s>00)?(?:[.,](?P<f>0+))?{_ZONE}",
        rf"{_WEEKDAY}{_NAME}\s+(?P<d>00?)\s+{_CLOCK}{_ZONE}\s+(?P<y>0000)",
        *(rf"{_CLOCK},?\s+{_WEEKDAY}{date}" for date in _DATES),
    )
]


@dataclass(frozen=True)
class Shape:
    """What the texts of a shape say; `spans` are byte positions of their digits by part."""

    text: str
    spans: Mapping[str, slice]
    month: int | None
    half: str | None
    zone_s: int | None
    region: str | None

    @property
    def day_and_month(self) -> bool:
        """Whether two numbers are a day and a month, in an order that the shape doesn't tell."""
        return "a" in self.spans

    @property
    def separator(self) -> str:
        """The character behind the first of these numbers."""
        return self.text[self.spans["a"].stop]

    @property
    def may_begin_with_year(self) -> bool:
        """Whether all three numbers of a date have two digits, as in 19-10-31."""
        span = self.spans["y"]
        return self.day_and_month and span.stop - span.start == 2

    def describe(self, *, order: DateOrder) -> str:
        """Such as "YYYY-MM-DD HH:MM:SS, UTC"."""
        letters = {"y": "Y", "m": "M", "d": "D", "h": "H", "min": "M", "s": "S", "f": "f"}
        letters |= {"oh": "H", "om": "M"}
        letters |= dict(zip("aby", self.order(order), strict=True)) if self.day_and_month else {}
        shown = bytearray(self.text.encode())
        for part, span in self.spans.items():
            if part in letters:
                shown[span] = (letters[part] * (span.stop - span.start)).encode()
        return f"{shown.decode()}{'' if self._has_zone else ', taken as UTC'}"

    def order(self, order: DateOrder) -> str:
        """What the three numbers are, in the text's order."""
        return "DMY" if order == "YMD" and not self.may_begin_with_year else order

    @property
    def _has_zone(self) -> bool:
        return self.zone_s is not None or self.region is not None or "oh" in self.spans


def read_shape(text: str) -> Shape | None:
    """The parts of a shape, None if it is none of a time."""
    for pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found:
            break
    else:
        return None
    groups = {name: value for name, value in found.groupdict().items() if value}
    spans: dict[str, slice] = {
        name: slice(len(text[: found.start(name)].encode()), len(text[: found.end(name)].encode()))
        for name in ("y", "m", "d", "a", "b", "h", "min", "s", "f", "oh", "om")
        if name in groups
    }
    zone_s = ZONES[groups["zone"].lower()] * 3600 if "zone" in groups else None
    return Shape(
        text,
        spans,
        MONTHS[groups["name"].lower()] if "name" in groups else None,
        groups["half"].lower() if "half" in groups else None,
        zone_s,
        groups.get("region"),
    )


@dataclass(frozen=True)
class ShapedTexts:
    """Texts of one shape: `rows` are their positions, int64 [n], `content` their bytes, [L, n]."""

    shape: Shape
    rows: npt.NDArray[np.int64]
    content: npt.NDArray[np.uint8]

    def part(self, name: str, missing: int = 0) -> Integers:
        """The numbers of one part, int32 [n]; `missing` where the shape has none."""
        span = self.shape.spans.get(name)
        if span is None:
            return np.full(len(self.rows), missing, dtype=np.int32)
        digits = self.content[span][:_MAX_DIGITS] - np.uint8(_ZERO)
        n_single = len(digits) % 2
        # A number of two digits is a byte, too, and many bytes are computed with at once.
        pairs = digits[n_single::2] * np.uint8(10) + digits[n_single + 1 :: 2]
        first, *others = (digits[0], *pairs) if n_single else pairs
        number: Integers = first.astype(np.int32)
        for pair in others:
            number *= 100
            number += pair
        return number

    def seconds(self, *, order: DateOrder) -> Floats:
        """Unix seconds, float64 [n]; NaN where there is no such date or time."""
        seconds = np.empty(len(self.rows))
        for some in _cached_rows(len(self.rows)):
            texts = ShapedTexts(self.shape, self.rows[some], self.content[:, some])
            seconds[some] = texts._seconds(order=order)
        return seconds

    def _seconds(self, *, order: DateOrder) -> Floats:
        shape = self.shape
        year, month, day = self.part("y"), self.part("m"), self.part("d")
        if shape.day_and_month:
            parts = dict(zip(shape.order(order), map(self.part, "aby"), strict=True))
            year, month, day = parts["Y"], parts["M"], parts["D"]
        if shape.month is not None:
            month = np.full_like(year, shape.month)
        if shape.spans["y"].stop - shape.spans["y"].start == 2:
            year = year + np.where(year < 69, 2000, 1900)  # as POSIX does
        hour = self.part("h")
        if shape.half:
            is_hour = (hour >= 1) & (hour <= 12)
            hour = np.where(is_hour, hour % 12 + (12 if shape.half == "p" else 0), 99)
        local = date_seconds(year, month, day)
        local += clock_seconds(hour, self.part("min"), self.part("s"))
        if "f" in shape.spans:
            local += self._fraction()
        return self._to_utc(local)

    def _fraction(self) -> Floats:
        span = self.shape.spans["f"]
        n_digits = min(span.stop - span.start, _MAX_DIGITS)
        fraction: Floats = self.part("f") / 10.0**n_digits
        return fraction

    def _to_utc(self, local: Floats) -> Floats:
        shape = self.shape
        if "oh" in shape.spans:
            sign = -1 if shape.text.encode()[shape.spans["oh"].start - 1] == ord("-") else 1
            offset = self.part("oh") * 3600.0 + self.part("om") * 60.0
            utc: Floats = np.subtract(local, sign * offset)
            return utc
        if shape.region:
            return _from_region(local, shape.region)
        return local - shape.zone_s if shape.zone_s else local


class AlikeTimes:
    """Reads texts in parts, as long as all have one shape that tells the day from the month.

    Most columns do, and this takes a third of the time of `shaped_texts`.
    """

    def __init__(self) -> None:
        self._shape: Shape | None = None
        self._are_alike = True
        self._seconds: list[Floats] = []

    def add(self, texts: pl.Series) -> None:
        """Read more texts, unless they or earlier ones are of another kind."""
        if not (self._are_alike and len(texts)):
            return
        self._are_alike = texts.dtype == pl.String and not texts.has_nulls() and self._read(texts)
        if not self._are_alike:
            self._seconds.clear()

    def _read(self, texts: pl.Series) -> bool:
        if self._shape is None:
            if _are_numbers(texts.head(1)):
                return False
            self._shape = read_shape(_shape_of(texts[0]))
        shape = self._shape
        if shape is None or shape.day_and_month:
            return False
        for chunk in texts.get_chunks():  # without a copy that puts them together
            found = _as_bytes(chunk, len(shape.text.encode()))
            if found.has_nulls():
                return False
            by_row = found.to_numpy()
            for some in _cached_rows(len(by_row)):
                content = np.ascontiguousarray(by_row[some].T)
                if not _are_all_of(content, shape.text):
                    return False
                rows = np.arange(content.shape[1])
                self._seconds.append(ShapedTexts(shape, rows, content).seconds(order="DMY"))
        return True

    def result(self) -> tuple[Shape, Floats] | None:
        """The shape of all texts, and their unix seconds, float64 [n]; None if there is no such."""
        if not (self._are_alike and self._shape):
            return None
        return self._shape, np.concatenate(self._seconds)


def shaped_texts(texts: pl.Series) -> Iterator[ShapedTexts]:
    """Texts by shape, those that are no times left out; nulls are none.

    The shape of the first text is compared with all others byte by byte, which is several times
    faster than finding the shape of each.
    """
    texts = texts.str.strip_chars()
    is_left = texts.is_not_null().to_numpy(writable=True)
    if not is_left.any():
        return
    guess = _shape_of(texts[int(is_left.argmax())])
    rows, content = _of_length(texts, len(guess.encode()))
    fits = _are_of(content, guess)
    if not fits.all():
        rows, content = rows[fits], content[:, fits]
    shape = read_shape(guess)
    if shape:
        yield ShapedTexts(shape, rows, content)
    is_left[rows] = False
    left = np.flatnonzero(is_left)
    yield from _by_shape(texts.gather(left), left)


def _by_shape(texts: pl.Series, rows: npt.NDArray[np.int64]) -> Iterator[ShapedTexts]:
    frame = pl.DataFrame({"row": rows, "text": texts})
    frame = frame.with_columns(pl.col("text").str.replace_all(r"[0-9]", "0").alias("shape"))
    for (found,), part in frame.group_by("shape", maintain_order=True):
        shape = read_shape(str(found))
        if shape:
            _, content = _of_length(part["text"], len(str(found).encode()))
            yield ShapedTexts(shape, part["row"].to_numpy(), content)


def _are_numbers(texts: pl.Series) -> bool:
    return not texts.str.strip_chars().cast(pl.Float64, strict=False).has_nulls()


def _shape_of(text: str) -> str:
    return re.sub(r"[0-9]", "0", text)


def _of_length(
    texts: pl.Series, n_bytes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Positions of the texts that have so many bytes, int64 [n], and these, uint8 [n_bytes, n]."""
    if not n_bytes:
        rows = np.flatnonzero((texts.str.len_bytes() == 0).fill_null(value=False).to_numpy())
        return rows, np.zeros((0, len(rows)), dtype=np.uint8)
    rows, found = np.arange(len(texts)), _as_bytes(texts, n_bytes)
    if found.has_nulls():
        rows, found = rows[found.is_not_null().to_numpy()], found.drop_nulls()
    by_row = found.to_numpy().reshape(-1, n_bytes)
    content = np.empty((n_bytes, len(rows)), dtype=np.uint8)
    for some in _cached_rows(len(rows)):
        content[:, some] = by_row[some].T
    return rows, content


def _as_bytes(texts: pl.Series, n_bytes: int) -> pl.Series:
    """The bytes of texts that have so many, Array(UInt8, n_bytes) [n]; others become null."""
    dtype = pl.Array(pl.UInt8, n_bytes)
    return texts.cast(pl.Binary).bin.reinterpret(dtype=dtype, endianness="little")


def _are_all_of(content: npt.NDArray[np.uint8], shape: str) -> bool:
    """Whether the bytes of all texts, [L, n], are of the shape."""
    least, more = _range_of(shape)
    return bool((content - least <= more).all())


def _are_of(content: npt.NDArray[np.uint8], shape: str) -> npt.NDArray[np.bool_]:
    """Whether the bytes of each text, [L, n], are of the shape, bool [n]."""
    least, more = _range_of(shape)
    fits = np.ones(content.shape[1], dtype=np.bool_)
    for some in _cached_rows(len(fits)):
        fits[some] = (content[:, some] - least <= more).all(axis=0)
    return fits


def _range_of(shape: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The smallest byte at each position, and how much larger one may be, uint8 [L, 1].

    Of unsigned numbers, a byte less the smallest becomes large where it is below that.
    """
    least = np.frombuffer(shape.encode(), dtype=np.uint8)[:, np.newaxis]
    return least, np.where(least == _ZERO, 9, 0).astype(np.uint8)


def _cached_rows(n_rows: int) -> Iterator[slice]:
    """Rows so few at a time that what is computed of them stays in the processor's cache."""
    for start in range(0, n_rows, _CACHED_ROWS):
        yield slice(start, start + _CACHED_ROWS)


def _from_region(local: Floats, region: str) -> Floats:
    """Unix seconds of local times in a zone such as Europe/Berlin; NaN in an unknown one.

    Of an hour that the clock repeats, the first; an hour that it skips is no time.
    """
    wall = pl.from_epoch(pl.Series(local * 1e6, nan_to_null=True).cast(pl.Int64), "us")
    try:
        times = wall.dt.replace_time_zone(region, ambiguous="earliest", non_existent="null")
    except pl.exceptions.PolarsError:
        return np.full_like(local, np.nan)
    return (times.dt.timestamp("us") / 1e6).to_numpy()
