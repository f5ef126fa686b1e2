"""Kinds of interaction, such as views and purchases, as a column of the file names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]

_SHOWN = 12


@dataclass(frozen=True)
class EventTypes:
    """The types of interactions, in the interactions' order.

    Attributes:
        names: by number, from 0; "" for interactions to which the file gives none.
        numbers: of each interaction, uint32 [n].
    """

    names: tuple[str, ...]
    numbers: npt.NDArray[np.uint32]

    def take(self, rows: npt.NDArray[np.int64] | Flags) -> EventTypes:
        """Those of some interactions, by position or flag."""
        return replace(self, numbers=self.numbers[rows])

    def are_of(self, names: tuple[str, ...]) -> Flags:
        """Whether interactions are of one of these types, bool [n]."""
        is_named = np.array([name in names for name in self.names], dtype=np.bool_)
        flags: Flags = is_named[self.numbers]
        return flags

    def counts(self) -> dict[str, int]:
        """How many interactions each type has that has any, most first."""
        counts = np.bincount(self.numbers, minlength=len(self.names)).tolist()
        pairs = sorted(zip(self.names, counts, strict=True), key=lambda pair: -pair[1])
        return {name: count for name, count in pairs if count}


def describe_types(counts: Mapping[str, int]) -> str:
    """Types with their counts, for people; the most frequent ones of many."""
    return _shown([f"{name or '(none)'} {count:,}" for name, count in counts.items()])


def describe_names(names: Iterable[str]) -> str:
    """Types for people; the first ones of many."""
    return _shown([name or "(none)" for name in names])


def _shown(texts: list[str]) -> str:
    return ", ".join([*texts[:_SHOWN], *(["…"] if len(texts) > _SHOWN else [])])
