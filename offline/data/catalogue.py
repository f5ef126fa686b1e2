"""The catalogue: every item once, with its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from model_store.attributes import ItemAttributes
from model_store.errors import InputError
from offline.data.attribute_kinds import can_be_attribute, infer_attribute
from offline.data.columns import ITEM_ID, TITLE, as_ids
from offline.data.id_checks import drop_bad_rows, id_reasons
from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues
from offline.data.tables import Table


@dataclass(frozen=True)
class Catalogue:
    """Item ids in the file's order and attributes aligned with them."""

    item_ids: list[str]
    attributes: ItemAttributes


def read_catalogue(table: Table, columns: Mapping[str, str], issues: Issues) -> Catalogue:
    """Read all items; `columns` are the table's names for item_id and, if it has one, title.

    Raises:
        InputError: the table has no row that can be used.
    """
    readable = _attribute_columns(table, columns, issues)
    frame = _read(table, {ITEM_ID: columns[ITEM_ID], **readable}, issues)
    n_rows = frame.height
    frame = drop_bad_rows(frame, id_reasons(ITEM_ID, IssueKind.MISSING_ITEM), table, issues)
    if frame.is_empty():
        own = issues.about(table.path.name)
        reason = f"none of its rows can be used: {own}" if n_rows or own else "has no rows"
        raise InputError(f"{table.path}: {reason}")
    frame = _drop_repeated(frame, table, issues)
    return Catalogue(frame[ITEM_ID].to_list(), _attributes(frame, list(readable), table, issues))


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


def _drop_repeated(frame: pl.DataFrame, table: Table, issues: Issues) -> pl.DataFrame:
    """The first of the rows with the same item id."""
    is_first = frame[ITEM_ID].is_first_distinct()
    repeated = frame.filter(~is_first)
    examples = [
        f"{table.place_name} {place}: {item_id!r}"
        for place, item_id in repeated.head(MAX_EXAMPLES).select("place", ITEM_ID).rows()
    ]
    issues.add(table.path.name, IssueKind.REPEATED_ITEM, repeated.height, examples)
    return frame.filter(is_first)


def _attributes(
    frame: pl.DataFrame, names: list[str], table: Table, issues: Issues
) -> ItemAttributes:
    file, word = table.path.name, table.place_name
    places, item_ids = frame["place"].to_list(), frame[ITEM_ID].to_list()
    attributes = []
    for position, name in enumerate(names):
        given = frame[str(position)]
        column = infer_attribute(name, given)
        attributes.append(column.attribute)
        examples = [
            f"{word} {places[row]}: {name} {given[row]!r}"
            for row in column.not_numbers[:MAX_EXAMPLES]
        ]
        issues.add(file, IssueKind.NOT_A_NUMBER, len(column.not_numbers), examples)
        if name == TITLE:
            untitled = [row for row, title in enumerate(column.attribute.values) if title is None]
            examples = [f"{word} {places[row]}: {item_ids[row]!r}" for row in untitled]
            issues.add(file, IssueKind.MISSING_TITLE, len(untitled), examples[:MAX_EXAMPLES])
    return ItemAttributes(attributes, frame.height)
