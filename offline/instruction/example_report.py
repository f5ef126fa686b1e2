"""Counts and samples of instruction examples."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

N_SAMPLES = 3


@dataclass
class ExampleReport:
    """What became of the users and of the positions of their training sequences.

    Attributes:
        users: with training interactions.
        users_with_few: left out, for fewer than three of them.
        users_beyond_limits: not asked about, since there were enough examples.
        positions: that were asked about.
        rankings: list-wise examples.
        ratings: point-wise examples.
        left_out: positions that make no list-wise example, by reason.
        ratings_left_out: positions that make no point-wise example, by reason.
        target_places: list-wise examples by the target's place in the recommender's order, from 1.
        rating_counts: point-wise examples by rating.
        samples: some examples of both kinds, prompt and answer.
    """

    users: int = 0
    users_with_few: int = 0
    users_beyond_limits: int = 0
    positions: int = 0
    rankings: int = 0
    ratings: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    ratings_left_out: dict[str, int] = field(default_factory=dict)
    target_places: dict[str, int] = field(default_factory=dict)
    rating_counts: dict[str, int] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def count(counts: dict[str, int], name: object) -> None:
    """Count one more under a name."""
    counts[str(name)] = counts.get(str(name), 0) + 1
