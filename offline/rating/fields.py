"""Item attributes as fields of value numbers, for networks over user, item and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.attributes import Attribute, ItemAttributes
from model_store.errors import InputError
from model_store.files import save_array, write_atomically

N_BINS = 10
"""Parts of the range of a number, each with as many items."""
MIN_SHARE = 2
"""A column with fewer items a value, such as a title, says nothing that the item's id doesn't."""
MAX_VALUES = 8
"""Values of one item that are read of a list."""
_FIELDS, _NAMES = "fields.npy", "field_names.txt"


@dataclass(frozen=True)
class ItemFields:
    """What attributes say of each item.

    Attributes:
        names: of the F fields.
        values: int32 [F, N+1, MAX_VALUES], value numbers 1..V, each in one field only; 0 where an
            item has no further value. Row 0 of each field is zeros.
    """

    names: tuple[str, ...]
    values: npt.NDArray[np.int32]

    @property
    def n_values(self) -> int:
        """V, values of all fields together."""
        return int(self.values.max(initial=0))

    @classmethod
    def of(cls, attributes: ItemAttributes) -> ItemFields:
        """The attributes that several items share values of; numbers by tenths of the items."""
        names, columns, first = [], [], 1
        for name in attributes.names:
            attribute = attributes.get(name)
            values = None if attribute is None else _values_of(attribute)
            if values is None:
                continue
            different = sorted({value for row in values for value in row})
            if not different or MIN_SHARE * len(different) > attributes.n_items:
                continue
            number = {value: place for place, value in enumerate(different, start=first)}
            column = np.zeros((attributes.n_items + 1, MAX_VALUES), np.int32)
            for item, row in enumerate(values, start=1):
                kept = [number[value] for value in row[:MAX_VALUES]]
                column[item, : len(kept)] = kept
            names.append(name)
            columns.append(column)
            first += len(different)
        shape = (0, attributes.n_items + 1, MAX_VALUES)
        return cls(tuple(names), np.stack(columns) if columns else np.zeros(shape, np.int32))

    def save(self, folder: Path) -> None:
        """Write into a folder."""
        save_array(folder / _FIELDS, self.values)
        write_atomically(folder / _NAMES, "\n".join(self.names).encode())

    @classmethod
    def load(cls, folder: Path) -> ItemFields:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        try:
            values = np.load(folder / _FIELDS, allow_pickle=False)
            names = (folder / _NAMES).read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: no readable fields of items ({error})") from error
        return cls(tuple(filter(None, names)), values)


def _values_of(attribute: Attribute) -> list[Sequence[str]]:
    """The values of each item as texts, none where it has none."""
    if attribute.kind == "number":
        return _bins_of(attribute)
    rows: list[Sequence[str]] = []
    for value in attribute.values:
        if isinstance(value, list):
            rows.append(list(dict.fromkeys(value)))
        else:
            rows.append([] if value is None else [str(value)])
    return rows


def _bins_of(attribute: Attribute) -> list[Sequence[str]]:
    numbers = np.array([np.nan if v is None else float(v) for v in attribute.values])  # type: ignore[arg-type]
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return [[] for _ in numbers]
    cuts = np.unique(np.quantile(known, np.arange(1, N_BINS) / N_BINS))
    bins = np.searchsorted(cuts, numbers, side="right")
    return [
        [] if np.isnan(number) else [f"{place:02d}"]
        for number, place in zip(numbers, bins, strict=True)
    ]
