"""The catalogue: every item once, with its attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import polars as pl

from model_store.attributes import AttributeKind, ItemAttributes
from model_store.errors import InputError
from offline.data.attribute_kinds import InferredColumn, can_be_attribute, infer_attribute
from offline.data.column_readings import NOT_READ, ColumnReading, attribute_meaning
from offline.data.columns import ITEM_ID, TITLE
from offline.data.id_checks import Reason, drop_bad_rows, id_reasons
from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.kinds.ids import are_no_value, are_shortened, as_ids, as_meant
from offline.data.tables import Table


@dataclass(frozen=True)
class Catalogue:
    """Item ids in the file's order and attributes aligned with them; how columns were read."""

    item_ids: list[str]
    attributes: ItemAttributes
    readings: tuple[ColumnReading, ...] = ()


def read_catalogue(
    table: Table,
    columns: Mapping[str, str],
    issues: Issues,
    kinds: Mapping[str, str] | None = None,
) -> Catalogue:
    """Read all items.

    Args:
        table: the file.
        columns: its names for item_id and, if it has one, title.
        issues: of rows and columns are added.
        kinds: what a person says that columns are, by the table's names.

    Raises:
        InputError: the table has no row that can be used, or lacks a column of `kinds`.
    """
    kinds = kinds or {}
    unknown = [name for name in kinds if name not in table.schema]
    if unknown:
        raise InputError(
            f"{table.path}: no column {unknown[0]!r} to be a {kinds[unknown[0]]} "
            f"(its columns: {', '.join(table.schema)})"
        )
    readable = _attribute_columns(table, columns, issues)
    frame = _read(table, {ITEM_ID: columns[ITEM_ID], **readable}, issues)
    n_rows = frame.height
    frame = drop_bad_rows(frame, _reasons(frame, columns[ITEM_ID]), table, issues)
    if frame.is_empty():
        own = issues.about(table.path.name)
        reason = f"none of its rows can be used: {own}" if n_rows or own else "has no rows"
        raise InputError(f"{table.path}: {reason}")
    frame = _drop_repeated(frame, table, issues)
    _report_shortened(frame, table, issues)
    item_ids, id_detail = as_meant(frame[ITEM_ID].to_list())
    frame = frame.with_columns(pl.Series(ITEM_ID, item_ids, dtype=pl.String))
    asked = {name: kinds[column] for name, column in readable.items() if column in kinds}
    inferred, attributes = _attributes(frame, list(readable), asked, table, issues)
    readings = _readings(table, columns[ITEM_ID], id_detail, readable, inferred)
    return Catalogue(frame[ITEM_ID].to_list(), attributes, readings)


def _attribute_columns(table: Table, columns: Mapping[str, str], issues: Issues) -> dict[str, str]:
    """Names in the table by attribute name, in the file's order; the title gets its one name."""
    readable, left_out = {}, []
    for name, dtype in table.schema.items():
        if name == columns[ITEM_ID]:
            continue
        if not name or not can_be_attribute(dtype):
            left_out.append(f"{name!r} of type {dtype}")
            continue
        readable[TITLE if name == columns.get(TITLE) else name] = name
    issues.add(table.path.name, IssueKind.COLUMN_NOT_READ, len(left_out), left_out)
    return readable


def _read(table: Table, columns: Mapping[str, str], issues: Issues) -> pl.DataFrame:
    """All rows; attributes are named by position, so that none collides with other columns."""
    parts = []
    for batch in table.batches(list(columns.values()), issues):
        series = [batch.frame[name] for name in columns.values()]
        names = [ITEM_ID, *(str(position) for position in range(len(columns) - 1))]
        parts.append(
            pl.DataFrame(
                [
                    batch.places.alias("place"),
                    as_ids(series[0]).alias(ITEM_ID),
                    *(s.alias(n) for s, n in zip(series[1:], names[1:], strict=True)),
                ]
            )
        )
    return (
        pl.concat(parts) if parts else pl.DataFrame(schema={"place": pl.UInt32, ITEM_ID: pl.String})
    )


def _reasons(frame: pl.DataFrame, id_column: str) -> list[Reason]:
    """What makes rows of a catalogue unusable."""
    no_value = frame[ITEM_ID].filter(are_no_value(frame[ITEM_ID])).unique().to_list()
    return [
        # Files that were put together have a header for each of them.
        (IssueKind.REPEATED_HEADER, pl.col(ITEM_ID) == id_column, ""),
        (IssueKind.MISSING_ITEM, pl.col(ITEM_ID).is_in(no_value), ""),
        *id_reasons(ITEM_ID, IssueKind.MISSING_ITEM),
    ]


def _report_shortened(frame: pl.DataFrame, table: Table, issues: Issues) -> None:
    shortened = frame.filter(are_shortened(frame[ITEM_ID]))
    examples = [
        f"{table.locate(place)}: {item_id!r:.60}"
        for place, item_id in shortened.head(MAX_EXAMPLES).select("place", ITEM_ID).rows()
    ]
    issues.add(table.path.name, IssueKind.SHORTENED_ID, shortened.height, examples)


def _readings(
    table: Table,
    id_column: str,
    id_detail: str,
    readable: Mapping[str, str],
    inferred: Sequence[InferredColumn],
) -> tuple[ColumnReading, ...]:
    """How each column was read, in the file's order."""
    by_name = {column.attribute.name: column for column in inferred}
    by_column = {column: by_name[name] for name, column in readable.items()}
    readings = []
    for column, dtype in table.schema.items():
        reading = ColumnReading(table.path.name, column, NOT_READ, None, f"values of type {dtype}")
        if column == id_column:
            reading = replace(reading, meaning=ITEM_ID, kind="id", detail=id_detail)
        elif column in by_column:
            found = by_column[column]
            detail = f"{found.detail}; perhaps {found.perhaps}" if found.perhaps else found.detail
            meaning, kind = attribute_meaning(found.attribute.name), found.attribute.kind
            reading = replace(reading, meaning=meaning, kind=kind, detail=detail)
        readings.append(reading)
    return tuple(readings)


def _drop_repeated(frame: pl.DataFrame, table: Table, issues: Issues) -> pl.DataFrame:
    """The first of the rows with the same item id."""
    is_first = frame[ITEM_ID].is_first_distinct()
    repeated = frame.filter(~is_first)
    examples = [
        f"{table.locate(place)}: {item_id!r}"
        for place, item_id in repeated.head(MAX_EXAMPLES).select("place", ITEM_ID).rows()
    ]
    issues.add(table.path.name, IssueKind.REPEATED_ITEM, repeated.height, examples)
    return frame.filter(is_first)


def _attributes(
    frame: pl.DataFrame,
    names: list[str],
    asked: Mapping[str, str],
    table: Table,
    issues: Issues,
) -> tuple[list[InferredColumn], ItemAttributes]:
    file = table.path.name
    places, item_ids = frame["place"].to_list(), frame[ITEM_ID].to_list()
    columns = []
    for position, name in enumerate(names):
        given = frame[str(position)]
        column = infer_attribute(name, given, cast(AttributeKind | None, asked.get(name)))
        columns.append(column)
        examples = [
            f"{table.locate(places[row])}: {name} {given[row]!r}"
            for row in column.not_numbers[:MAX_EXAMPLES]
        ]
        issues.add(file, IssueKind.NOT_A_NUMBER, len(column.not_numbers), examples)
        if name == TITLE:
            untitled = [row for row, title in enumerate(column.attribute.values) if title is None]
            examples = [
                f"{table.locate(places[row])}: {item_ids[row]!r}" for row in untitled[:MAX_EXAMPLES]
            ]
            issues.add(file, IssueKind.MISSING_TITLE, len(untitled), examples)
    unsure = [
        f"{c.attribute.name!r}: perhaps {c.perhaps}; --kinds {c.attribute.name}=list reads it so"
        for c in columns
        if c.perhaps
    ]
    issues.add(file, IssueKind.PERHAPS_LIST, len(unsure), unsure)
    return columns, ItemAttributes([column.attribute for column in columns], frame.height)
