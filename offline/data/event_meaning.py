"""What the rows of a file mean by a recipe's `[events]`: positive ones are used, others are kept.

Positive rows are the interactions of everything that follows: training, targets, popularity. All
rows with their kinds go into the bundle, so that a service excludes what was disliked in the files,
and knows what was purchased.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.codecs import MEANINGS, kind_numbers
from model_store.errors import InputError
from model_store.event_rules import INTERACTION, MAX_TYPES, EventRules
from model_store.files import save_array, write_atomically
from offline.data.event_types import EventTypes
from offline.data.interactions import Interactions, load_array

Weights = npt.NDArray[np.float32]
_KINDS, _TYPES = "kinds.npy", "types.json"


@dataclass(frozen=True)
class TypedInteractions:
    """All interactions, whatever they mean.

    Attributes:
        interactions: positive ones, negative ones and context only.
        kinds: uint16 [n], of each, as `model_store.codecs.kind_numbers` numbers them.
        types: names of the types by number.
    """

    interactions: Interactions
    kinds: npt.NDArray[np.uint16]
    types: tuple[str, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many are positive, negative and context only, by type, most first."""
        found: dict[str, dict[str, int]] = {meaning: {} for meaning in MEANINGS}
        kinds, counts = np.unique(self.kinds, return_counts=True)
        pairs = zip(kinds.tolist(), counts.tolist(), strict=True)
        for kind, count in sorted(pairs, key=lambda pair: -pair[1]):
            meaning, number = divmod(kind, MAX_TYPES)
            found[MEANINGS[meaning]][self.types[number]] = count
        return found

    def save(self, folder: Path) -> None:
        """Write as `.npy` and `.json` files."""
        folder.mkdir(parents=True, exist_ok=True)
        self.interactions.save(folder)
        save_array(folder / _KINDS, self.kinds)
        write_atomically(folder / _TYPES, json.dumps(self.types, ensure_ascii=False).encode())

    @classmethod
    def load(cls, folder: Path) -> TypedInteractions:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        interactions = Interactions.load(folder)
        return cls(interactions, load_array(folder / _KINDS, np.uint16), load_types(folder))


def load_types(folder: Path) -> tuple[str, ...]:
    """Names of the types that `TypedInteractions.save` wrote, by number.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return tuple(map(str, json.loads((folder / _TYPES).read_bytes())))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder / _TYPES}: not readable types of events ({error})") from error


@dataclass(frozen=True)
class Meaning:
    """What each of n interactions means.

    Attributes:
        weights: float32 [n], as `EventRules.weigh` answers.
        kinds: uint16 [n].
        types: names of the types by number.
    """

    weights: Weights
    kinds: npt.NDArray[np.uint16]
    types: tuple[str, ...]

    @classmethod
    def by_rules(
        cls, interactions: Interactions, event_types: EventTypes | None, rules: EventRules
    ) -> Meaning:
        """The meaning by type and rating; each different pair is judged once.

        Raises:
            InputError: there are more types than can be numbered.
        """
        names = ("",) if event_types is None else event_types.names
        if len(names) > MAX_TYPES:
            raise InputError(
                f"the column event_type has {len(names):,} different values, more than "
                f"{MAX_TYPES:,}: it holds no types of events"
            )
        words = [name or INTERACTION for name in names]
        number_of = {name: number for number, name in enumerate(dict.fromkeys(words))}
        types = tuple(number_of)
        numbers = np.zeros(len(interactions), np.int64)
        if event_types is not None:
            numbers = np.take([number_of[word] for word in words], event_types.numbers)
        weights = _weights(types, numbers, interactions.ratings, rules)
        return cls(weights, kind_numbers(numbers, weights), types)

    @property
    def is_plain(self) -> bool:
        """Whether all are positive, and of no other type than INTERACTION."""
        return set(self.types) <= {INTERACTION} and bool((self.weights > 0).all())

    def counts(self) -> dict[str, int]:
        """How many are positive, negative, context only; in this order, zeros too."""
        signs = np.sign(self.weights)
        return {
            "positive": int((signs > 0).sum()),
            "negative": int((signs < 0).sum()),
            "context": int((signs == 0).sum()),
        }


def _weights(
    types: tuple[str, ...],
    numbers: npt.NDArray[np.int64],
    ratings: npt.NDArray[np.float32] | None,
    rules: EventRules,
) -> Weights:
    """Weights float32 [n] of interactions whose types have numbers."""
    if ratings is None or (rules.positive_from is None and rules.negative_to is None):
        weights: Weights = np.array([rules.weigh(name) for name in types], np.float32)[numbers]
        return weights
    values, places = np.unique(ratings, return_inverse=True)
    pairs = numbers * len(values) + places.reshape(-1)
    different, places = np.unique(pairs, return_inverse=True)
    judged = [
        rules.weigh(types[pair // len(values)], float(values[pair % len(values)]))
        for pair in different.tolist()
    ]
    of_each: Weights = np.array(judged, np.float32)[places.reshape(-1)]
    return of_each


def unless_equal(weights: Weights) -> Weights | None:
    """The weights, or None where all are the same, which is training as without weights."""
    return None if not len(weights) or (weights == weights[0]).all() else weights
