"""Joins the interactions of two tables: what a file holds, and what services archived since."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from model_store.codecs import second_of
from model_store.event_rules import INTERACTION
from offline.data.event_types import EventTypes
from offline.data.interaction_rows import InteractionRows
from offline.data.issues import IssueKind, Issues


def join_rows(
    first: InteractionRows, second: InteractionRows, file: str, issues: Issues
) -> InteractionRows:
    """All rows by user and time; ids are numbered as in the first table, then new ones.

    A row of the second table with user, item, type and second of one of the first is a report of
    the same event, and is dropped.

    Args:
        first: the table that comes first where times are equal.
        second: the other one.
        file: name of the second table, for issues.
        issues: of rows are added.
    """
    user_ids, of_users = _numbered(first.user_ids, second.user_ids)
    item_ids, of_items = _numbered(first.item_ids, second.item_ids)
    second = replace(second, users=of_users[second.users], items=of_items[second.items])
    first, second = _typed_alike(first, second)
    is_new = _are_new(first, second)
    if not is_new.all():
        issues.add(file, IssueKind.REPEATED_INTERACTION, int((~is_new).sum()), [])
        second = second.take(is_new)
    users = np.concatenate([first.users, second.users])
    timestamps = np.concatenate([first.timestamps, second.timestamps])
    joined = InteractionRows(
        user_ids,
        item_ids,
        users,
        np.concatenate([first.items, second.items]),
        timestamps,
        _ratings(first, second),
        _types(first, second),
        (*first.readings, *second.readings),
    )
    return joined.take(np.lexsort((timestamps, users)))


def _numbered(first: list[str], second: list[str]) -> tuple[list[str], npt.NDArray[np.uint32]]:
    """All ids, and the numbers there of the second table's."""
    numbers = {one: number for number, one in enumerate(first)}
    of_second = [numbers.setdefault(one, len(numbers)) for one in second]
    return list(numbers), np.array(of_second, dtype=np.uint32)


def _typed_alike(
    first: InteractionRows, second: InteractionRows
) -> tuple[InteractionRows, InteractionRows]:
    """Both with types of the same numbers, where one of them has types."""
    if first.event_types is None and second.event_types is None:
        return first, second
    one, other = _named(first), _named(second)
    names, of_other = _numbered(list(one.names), list(other.names))
    return (
        replace(first, event_types=EventTypes(tuple(names), one.numbers)),
        replace(second, event_types=EventTypes(tuple(names), of_other[other.numbers])),
    )


def _named(rows: InteractionRows) -> EventTypes:
    """The types, the usual one where a table or a row has none."""
    found = rows.event_types
    if found is None:
        return EventTypes((INTERACTION,), np.zeros(len(rows.users), dtype=np.uint32))
    names, numbers = _numbered([], [name or INTERACTION for name in found.names])
    return EventTypes(tuple(names), numbers[found.numbers])


def _are_new(first: InteractionRows, second: InteractionRows) -> npt.NDArray[np.bool_]:
    """Whether the first table lacks a row of the second, bool [n]."""
    known = _identities(first).unique()
    new = _identities(second).with_row_index("row").join(known, on=_IDENTITY, how="anti")
    flags = np.zeros(len(second.users), dtype=np.bool_)
    flags[new["row"].to_numpy()] = True
    return flags


_IDENTITY = ["user", "item", "type", "second"]


def _identities(rows: InteractionRows) -> pl.DataFrame:
    types = rows.event_types
    columns = (rows.users, rows.items, None if types is None else types.numbers)
    found = dict(zip(_IDENTITY, (*columns, second_of(rows.timestamps)), strict=True))
    found["type"] = np.zeros(len(rows.users), dtype=np.uint32) if types is None else found["type"]
    return pl.DataFrame(found)


def _ratings(first: InteractionRows, second: InteractionRows) -> npt.NDArray[np.float32] | None:
    """Of both, NaN where a table has none; None where no row has one."""
    parts = [
        np.full(len(rows.users), np.nan, dtype=np.float32) if rows.ratings is None else rows.ratings
        for rows in (first, second)
    ]
    if first.ratings is None and np.isnan(parts[1]).all():
        return None
    return np.concatenate(parts)


def _types(first: InteractionRows, second: InteractionRows) -> EventTypes | None:
    one, other = first.event_types, second.event_types
    if one is None or other is None:
        return None
    return EventTypes(one.names, np.concatenate([one.numbers, other.numbers]))
