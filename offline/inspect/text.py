"""An inspection as text: whole for `longtail inspect`, short for `longtail build`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from model_store.attributes import AttributeValue
from offline.data.column_readings import ColumnReading
from offline.data.event_types import describe_types
from offline.inspect.histories import QUANTILES, Histories
from offline.inspect.inspection import Inspection, Sample
from offline.inspect.overlap import Overlap
from offline.inspect.ratings import RatingCounts
from offline.inspect.times import Times, written
from offline.inspect.warnings import warnings_about_data

SHOWN_CHARACTERS = 60
LABEL_WIDTH = 16


def describe(inspection: Inspection) -> str:
    """The whole inspection, section by section, warnings last."""
    sections = [_columns(file, inspection.readings) for file in inspection.files]
    sections.append("\n".join(f"{label:{LABEL_WIDTH}}{text}" for label, text in facts(inspection)))
    sections.append("\n".join(["not used, or changed:", *_indented(rows_lost(inspection))]))
    sections.append("\n".join(["some interactions:", *_table(sample_rows(inspection.samples))]))
    if inspection.items:
        shown = [
            _indented(f"{name}: {shorten(value)}" for name, value in item.items())
            for item in inspection.items
        ]
        sections.append("\n\n".join(["some items:", *("\n".join(lines) for lines in shown)]))
    warnings = [f"WARNING: {warning}" for warning in warnings_about_data(inspection)]
    sections.append("\n".join(warnings or ["Nothing to be warned of."]))
    return "\n\n".join(sections)


def describe_briefly(inspection: Inspection) -> list[str]:
    """The columns of each file on a line, and warnings."""
    lines = []
    for file in inspection.files:
        of_file = [reading for reading in inspection.readings if reading.file == file]
        lines.append(f"{file}: " + ", ".join(_briefly(reading) for reading in of_file))
    return lines + [f"WARNING: {warning}" for warning in warnings_about_data(inspection)]


_MEANINGS = {"positive": "positive", "negative": "negative", "context": "context only"}


def facts(inspection: Inspection) -> list[tuple[str, str]]:
    """What is known of the whole data set, as labels and sentences."""
    histories = inspection.histories
    counts = (
        f"{inspection.n_interactions:,} of {counted(histories.n_users, 'user')} with "
        f"{counted(inspection.n_items, 'item')}"
    )
    found = [
        ("interactions", counts),
        ("times", _describe_times(inspection.times)),
        ("histories", _describe_lengths(histories)),
        ("repeats", _describe_repeats(histories, inspection.n_interactions)),
        ("held out", f"{histories.n_held_out:,} users have three interactions or more"),
    ]
    if inspection.event_types:
        found.append(("event types", describe_types(inspection.event_types)))
    kinds = inspection.kinds
    if kinds.get("negative") or kinds.get("context"):
        found += [
            (_MEANINGS[meaning], describe_types(of_type))
            for meaning, of_type in kinds.items()
            if of_type
        ]
    if inspection.ratings is not None:
        found.append(("ratings", _describe_ratings(inspection.ratings)))
    if inspection.overlap is not None:
        found.append(("catalogue", _describe_overlap(inspection.overlap)))
    found += [("unusual user", str(outlier)) for outlier in histories.outliers]
    return found


def _describe_ratings(ratings: RatingCounts) -> str:
    shares = (
        f"{value:g}: {100 * count / ratings.n:.3g} %" for value, count in ratings.counts.items()
    )
    return (
        f"{ratings.n:,} of mean {ratings.mean:.3g}, standard deviation {ratings.deviation:.3g} "
        f"({', '.join(shares)})"
    )


def rows_lost(inspection: Inspection) -> list[str]:
    """A line for each kind of issue; one that says so where there is none."""
    return [str(issue) for issue in inspection.issues] or ["nothing"]


def sample_rows(samples: Sequence[Sample]) -> list[list[str]]:
    """A table of samples, its header first."""
    has_ratings = any(sample.rating is not None for sample in samples)
    header = ["user_id", "item_id", "title", "time (UTC)", *(["rating"] if has_ratings else [])]
    return [
        header,
        *(
            [
                *(shorten(text) for text in (sample.user_id, sample.item_id, sample.title)),
                sample.time,
                *([_rating(sample)] if has_ratings else []),
            ]
            for sample in samples
        ),
    ]


def _rating(sample: Sample) -> str:
    return "" if sample.rating is None else f"{sample.rating:g}"


def counted(n: int, noun: str) -> str:
    """A number and its noun."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def shorten(value: AttributeValue) -> str:
    """A value on one short line."""
    text = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _columns(file: str, readings: Sequence[ColumnReading]) -> str:
    rows = [["column", "taken for", "kind", ""]]
    rows += [
        [reading.column, reading.meaning, reading.kind or "", reading.detail]
        for reading in readings
        if reading.file == file
    ]
    return "\n".join([file, *_table(rows)])


def _briefly(reading: ColumnReading) -> str:
    detail = f" ({reading.detail})" if reading.detail else ""
    return f"{reading.column!r:.60} is {reading.meaning}{detail}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _describe_times(times: Times) -> str:
    tied = "every one is at a time of its own"
    if times.n_tied:
        tied = (
            f"{100 * times.share_tied:.3g} % are at the time of another one of the same user and "
            "keep the file's order"
        )
    dates = "; dates without times" if times.are_dates else ""
    return f"{written(times.first_s)} to {written(times.last_s)} UTC{dates}; {tied}"


def _describe_lengths(histories: Histories) -> str:
    named = dict(zip(QUANTILES, histories.quantiles, strict=True))
    if named[0.0] == named[1.0]:
        return f"{counted(named[0.0], 'interaction')} a user"
    return (
        f"{named[0.0]:,} to {named[1.0]:,} interactions a user; median {named[0.5]:,}, "
        f"a tenth have {named[0.1]:,} or fewer, a tenth {named[0.9]:,} or more"
    )


def _describe_repeats(histories: Histories, n_interactions: int) -> str:
    if not histories.n_repeats:
        return "nobody has an item twice"
    share = 100 * histories.n_repeats / n_interactions
    return (
        f"{histories.n_repeats:,} interactions ({share:.3g} %) with an item that the user had "
        f"before, {histories.n_in_runs:,} of them directly before; "
        f"{100 * histories.share_of_targets:.3g} % of the test targets"
    )


def _describe_overlap(overlap: Overlap) -> str:
    lacking = "it has all items that interactions name"
    if overlap.n_lacking:
        lacking = (
            f"it lacks {overlap.n_lacking:,} of the {counted(overlap.n_named, 'item')} that "
            f"interactions name, those of {counted(overlap.n_interactions_lacking, 'interaction')}"
        )
    unused = overlap.n_catalogued - overlap.n_used
    items = counted(overlap.n_catalogued, "item")
    return f"{items}, {unused:,} without interactions; {lacking}"
