"""Item attributes: named columns, aligned with the id map."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from model_store.errors import InputError
from model_store.files import write_atomically
from model_store.reading import bundle_errors, read_json
from model_store.texts import in_parts, is_encodable

AttributeKind = Literal["text", "list", "number", "boolean"]
AttributeValue = str | list[str] | int | float | bool | None

MAX_INTEGER = 2**53
"""Larger integers lose digits as float64, here and in a browser."""
# A column with more distinct values than this (titles, descriptions) hardly repeats any.
_MAX_SHARED = 65_536


def _fits(kind: AttributeKind, value: object) -> bool:
    if value is None:
        return True
    if kind == "text":
        return isinstance(value, str) and is_encodable(value)
    if kind == "list":
        return isinstance(value, list) and all(
            isinstance(part, str) and is_encodable(part) for part in value
        )
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if isinstance(value, int):
        return abs(value) <= MAX_INTEGER
    # JSON has no NaN and no infinity, and no filter could compare them.
    return isinstance(value, float) and math.isfinite(value)


def _show(value: object) -> str:
    """A value for a message; an integer can be too long for Python to write it out."""
    is_huge = isinstance(value, int) and value.bit_length() > 256
    return "an integer of hundreds of digits" if is_huge else f"{value!r:.100}"


def _share(attribute: Attribute) -> None:
    """Have equal values as one object: a large catalogue repeats most values of most columns."""
    values = attribute.values
    known: dict[Any, AttributeValue] = {}
    if not isinstance(values, list) or attribute.kind not in ("text", "list"):
        return
    for start, some in in_parts(values):
        keys: Sequence[Any] = some
        if attribute.kind == "list":  # which can't be a key
            keys = [None if value is None else tuple(value) for value in some]
        values[start : start + len(some)] = map(known.setdefault, keys, some)
        if len(known) > _MAX_SHARED:
            break


def _surely_fit(kind: AttributeKind, values: Sequence[Any]) -> bool:
    """Whether values fit for sure, looked at together: in a tenth of the time of one by one.

    False also where only a closer look can tell.
    """
    types = set(map(type, values)) - {type(None)}
    if kind == "boolean":
        return types <= {bool}
    if kind == "number":
        present = [value for value in values if value is not None]
        integers = [value for value in present if type(value) is int]
        is_near = not integers or -MAX_INTEGER <= min(integers) <= max(integers) <= MAX_INTEGER
        return types <= {int, float} and is_near and all(map(math.isfinite, present))
    if not types <= {list if kind == "list" else str}:
        return False
    texts: Iterable[Any] = filter(None, values)
    if kind == "list":
        texts = chain.from_iterable(texts)
    try:
        return is_encodable("".join(texts))
    except TypeError:  # a list holds something else than texts
        return False


@dataclass(frozen=True)
class Attribute:
    """One column of the catalogue; `values[item_index - 1]` is an item's value, None if missing.

    Raises:
        ValueError: the kind is unknown or a value is not of it.
    """

    name: str
    kind: AttributeKind
    values: Sequence[AttributeValue]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not is_encodable(self.name):
            raise ValueError(f"{self.name!r:.100} is no name for an attribute")
        if self.kind not in get_args(AttributeKind):
            raise ValueError(f"attribute {self.name!r}: kind {self.kind!r:.100} is unknown")
        for start, values in in_parts(self.values):
            self._check(start, values)

    def _check(self, start: int, values: Sequence[AttributeValue]) -> None:
        """Check the values of the items behind the first `start` ones."""
        if _surely_fit(self.kind, values):
            return
        for item_index, value in enumerate(values, start=start + 1):
            if not _fits(self.kind, value):
                raise ValueError(
                    f"attribute {self.name!r}: {_show(value)} at item_index {item_index} "
                    f"is no {self.kind}"
                )

    def value_of(self, item_index: int) -> AttributeValue:
        """Value of an item in 1..N.

        Raises:
            IndexError: the index is padding or out of range.
        """
        if not 1 <= item_index <= len(self.values):
            raise IndexError(f"item_index {item_index} is outside 1..{len(self.values)}")
        return self.values[item_index - 1]


class ItemAttributes:
    """All attributes of a catalogue of `n_items` items, in the catalogue's column order.

    Raises:
        ValueError: a name is given twice, or a column doesn't have `n_items` values.
    """

    __slots__ = ("_attributes", "n_items")

    def __init__(self, attributes: Sequence[Attribute], n_items: int) -> None:
        self.n_items = n_items
        self._attributes = {attribute.name: attribute for attribute in attributes}
        if len(self._attributes) != len(attributes):
            raise ValueError("an attribute name is given twice")
        for attribute in attributes:
            if len(attribute.values) != n_items:
                raise ValueError(
                    f"attribute {attribute.name!r} has {len(attribute.values)} values "
                    f"for {n_items} items"
                )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ItemAttributes):
            return NotImplemented
        return self._as_json() == other._as_json()

    __hash__ = None  # type: ignore[assignment]  # values are lists

    @property
    def names(self) -> tuple[str, ...]:
        """Attribute names in column order."""
        return tuple(self._attributes)

    def get(self, name: str) -> Attribute | None:
        """The attribute of that name, None where the catalogue has none."""
        return self._attributes.get(name)

    def row(
        self, item_index: int, fields: Sequence[str] | None = None
    ) -> dict[str, AttributeValue]:
        """One item's values by name: all of them, or those in `fields`.

        A missing value is None; a field that the catalogue doesn't have is left out.

        Raises:
            IndexError: the index is padding or out of range.
        """
        if not 1 <= item_index <= self.n_items:
            raise IndexError(f"item_index {item_index} is outside 1..{self.n_items}")
        return {
            name: self._attributes[name].values[item_index - 1]
            for name in (self._attributes if fields is None else fields)
            if name in self._attributes
        }

    def rows(
        self, item_indices: Sequence[int], fields: Sequence[str]
    ) -> list[dict[str, AttributeValue]]:
        """The `row` of each item, column by column: in a third of the time of item by item.

        Args:
            item_indices: all of them in 1..N, which isn't checked.
            fields: those that the catalogue doesn't have are left out.
        """
        rows: list[dict[str, AttributeValue]] = [{} for _ in item_indices]
        for name in fields:
            if name in self._attributes:
                values = self._attributes[name].values
                for row, index in zip(rows, item_indices, strict=True):
                    row[name] = values[index - 1]
        return rows

    def change(self, item_index: int, name: str, value: AttributeValue) -> AttributeValue:
        """Set an item's value in place; returns the one before.

        Args:
            item_index: in 1..N.
            name: of an attribute of the catalogue.
            value: of the attribute's kind, or None; see `find_fault`.
        """
        attribute = self._attributes[name]
        if not isinstance(attribute.values, list):
            attribute = Attribute(name, attribute.kind, list(attribute.values))
            self._attributes[name] = attribute
        before = attribute.value_of(item_index)
        attribute.values[item_index - 1] = value  # type: ignore[index]
        return before

    def find_fault(self, name: str, value: object) -> str | None:
        """The reason why no item can have that value, None if one can."""
        attribute = self._attributes.get(name)
        if attribute is None:
            return f"attribute {name!r:.100} is not one of {list(self._attributes)}"
        if not _fits(attribute.kind, value):
            return f"attribute {name!r}: {_show(value)} is no {attribute.kind}"
        return None

    def extended(self, rows: Sequence[Mapping[str, AttributeValue]]) -> ItemAttributes:
        """Attributes with new items appended; the present ones stay as they are.

        Raises:
            InputError: a row has an attribute that the catalogue lacks, or a value of another kind.
        """
        for row in filter(None, rows):
            for name, value in row.items():
                if fault := self.find_fault(name, value):
                    raise InputError(fault)
        grown = [
            Attribute(name, attribute.kind, [*attribute.values, *(row.get(name) for row in rows)])
            for name, attribute in self._attributes.items()
        ]
        return ItemAttributes(grown, self.n_items + len(rows))

    def save(self, path: Path) -> None:
        """Write as one JSON document."""
        write_atomically(path, json.dumps(self._as_json(), ensure_ascii=False).encode())

    @classmethod
    def load(cls, path: Path) -> ItemAttributes:
        """Read what `save` wrote.

        Raises:
            BundleUnavailable: the file can't be read now.
            BundleError: the file doesn't hold attributes.
        """
        document = read_json(path)
        with bundle_errors(path, "not readable item attributes"):
            attributes = [
                Attribute(column["name"], column["kind"], list(column["values"]))
                for column in document["attributes"]
            ]
            for attribute in attributes:
                _share(attribute)
            return cls(attributes, int(document["n_items"]))

    def _as_json(self) -> dict[str, Any]:
        return {
            "n_items": self.n_items,
            "attributes": [
                {"name": a.name, "kind": a.kind, "values": list(a.values)}
                for a in self._attributes.values()
            ],
        }
