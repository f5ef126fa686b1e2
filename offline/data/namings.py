"""What a person says about the files' columns: which is which, and that there is no header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from model_store.attributes import AttributeKind
from model_store.errors import ConfigError, InputError
from model_store.suggestion import did_you_mean

if TYPE_CHECKING:
    from offline.data.tables import Table

INTERACTION_MEANINGS = ("user_id", "item_id", "timestamp", "rating", "event_type")
ITEM_MEANINGS = ("item_id", "title")
DATE_ORDERS = ("day-first", "month-first")


@dataclass(frozen=True)
class FileNaming:
    """The columns of one file.

    Attributes:
        columns: the file's names, or numbers from 1, by meaning.
        has_header: whether the first line names the columns.
        kinds: what columns are, by the file's names: a kind of attribute, or for the interactions'
            `timestamp` "day-first" or "month-first".
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    has_header: bool = True
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def day_first(self) -> bool | None:
        """Whether the day is first in "01/02/2019"; None where nothing was said."""
        said = self.kinds.get("timestamp")
        return None if said is None else said == DATE_ORDERS[0]


@dataclass(frozen=True)
class Naming:
    """The columns of interactions and items."""

    interactions: FileNaming = FileNaming()
    items: FileNaming = FileNaming()

    def describe(self) -> dict[str, object]:
        """What was said, as JSON; empty where nothing was."""
        said: dict[str, object] = {}
        for name, naming in (("interactions", self.interactions), ("items", self.items)):
            if naming.columns:
                said[f"{name} columns"] = dict(sorted(naming.columns.items()))
            if not naming.has_header:
                said[f"{name} header"] = False
            if naming.kinds:
                said[f"{name} kinds"] = dict(sorted(naming.kinds.items()))
        return said


AS_FOUND = Naming()
"""Nothing is said: columns are found by their names, and the first line names them."""


def parse_naming(
    columns: Sequence[str],
    item_columns: Sequence[str],
    *,
    has_header: bool = True,
    has_item_header: bool = True,
    kinds: Sequence[str] = (),
) -> Naming:
    """The naming of the flags.

    `--columns` is about the interactions; `title` in it, and `item_id` where the items have a
    column of that name, are about the items too.

    Args:
        columns: values of `--columns`, such as "user_id=visitor,item_id=sku".
        item_columns: values of `--item-columns`.
        has_header: of the interactions.
        has_item_header: of the items.
        kinds: values of `--kinds`, such as "tags=list,timestamp=day-first".

    Raises:
        ConfigError: a value has another form, or names a meaning that there is not.
    """
    given = _parse(columns, "--columns", (*INTERACTION_MEANINGS, "title"))
    of_items = _parse(item_columns, "--item-columns", ITEM_MEANINGS)
    if "title" in given:
        of_items.setdefault("title", given.pop("title"))
    if not has_header and not given:
        raise ConfigError(
            "--no-header: say which column is which, such as "
            "--columns user_id=1,item_id=2,timestamp=3"
        )
    if not has_item_header and not of_items:
        raise ConfigError(
            "--no-item-header: say which column is which, such as --item-columns item_id=1,title=2"
        )
    of_times, of_attributes = _parse_kinds(kinds)
    return Naming(
        FileNaming(given, has_header, of_times),
        FileNaming(of_items, has_item_header, of_attributes),
    )


def _parse_kinds(values: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """What is said about the interactions' times, and about attributes."""
    said: dict[str, str] = {}
    for pair in (pair for value in values for pair in value.split(",") if pair.strip()):
        name, equals, kind = (part.strip() for part in pair.rpartition("="))
        fitting = DATE_ORDERS if name == "timestamp" else get_args(AttributeKind)
        if not (equals and name) or kind not in fitting:
            raise ConfigError(
                f"--kinds {pair.strip()!r}: expected {name or 'COLUMN'}= and one of "
                f"{', '.join(fitting)}{did_you_mean(kind, fitting)}"
            )
        said[name] = kind
    of_times = {name: kind for name, kind in said.items() if name == "timestamp"}
    return of_times, {name: kind for name, kind in said.items() if name not in of_times}


def _parse(values: Sequence[str], flag: str, meanings: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in (pair for value in values for pair in value.split(",") if pair.strip()):
        meaning, equals, name = (part.strip() for part in pair.partition("="))
        if not (equals and meaning and name):
            raise ConfigError(f"{flag} {pair.strip()!r}: expected {meanings[0]}=NAME")
        if meaning not in meanings:
            raise ConfigError(
                f"{flag} {pair.strip()!r}: {meaning!r} is none of {', '.join(meanings)}"
                + did_you_mean(meaning, meanings)
            )
        if found.setdefault(meaning, name) != name:
            raise ConfigError(f"{flag}: {meaning} is both {found[meaning]!r} and {name!r}")
    for name in found.values():
        twice = [meaning for meaning, other in found.items() if other == name]
        if len(twice) > 1:
            raise ConfigError(f"{flag}: {name!r} can't be both {twice[0]} and {twice[1]}")
    return found


def find_named(table: Table, all_columns: Sequence[str], naming: FileNaming) -> dict[str, str]:
    """The table's columns that a person named, by meaning.

    Args:
        table: the table.
        all_columns: its columns in file order, those without a name too; numbers count in it.
        naming: what was said about the file.

    Raises:
        InputError: the table has no such column.
    """
    return {
        meaning: _find(table, all_columns, meaning, name)
        for meaning, name in naming.columns.items()
    }


def _find(table: Table, all_columns: Sequence[str], meaning: str, name: str) -> str:
    if name in table.schema:
        return name
    alike = [column for column in table.schema if column.strip().lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    if name.isdecimal():
        if 1 <= int(name) <= len(all_columns):
            return all_columns[int(name) - 1]
        raise InputError(f"{table.path}: {meaning}={name}, but it has {len(all_columns)} columns")
    shown = ", ".join(table.schema)
    raise InputError(
        f"{table.path}: no column {name!r} to be the {meaning} (its columns: {shown})"
        + did_you_mean(name, list(table.schema))
    )
