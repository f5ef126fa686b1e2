"""Items near another one, by the direction of their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.model.arrays import FloatArray, IndexArray
from app.model.filters import Rule
from app.model.model import Model
from app.model.ranking import EXCLUDED, mask, top_k
from app.recommend.rules import hidden_now
from app.recommend.unmatched import describe_unmatched


@dataclass(frozen=True, slots=True)
class Similar:
    """Items near another one.

    Attributes:
        items: item_indices int32, the nearest first.
        scores: float32, their cosines.
        degraded: filter conditions that no item meets, in the contract's words.
    """

    items: IndexArray
    scores: FloatArray
    degraded: list[str] = field(default_factory=list)


def find_similar(
    item_indices: Sequence[int], model: Model, k: int, filters: Mapping[str, Rule] | None = None
) -> list[Similar]:
    """For each item, the k others whose vectors have the largest cosine with its own.

    Args:
        item_indices: of the items.
        model: has their vectors.
        k: at least 1.
        filters: rules by attribute that the others pass; None means all do.

    Raises:
        InvalidField: a filter names an unknown attribute, or one that it doesn't fit.
    """
    allowed, degraded = None, []
    if filters:
        matches = model.filters.match(filters)
        allowed, degraded = matches.items, describe_unmatched(matches)
    return [_find_similar(item_index, model, k, allowed, degraded) for item_index in item_indices]


def _find_similar(
    item_index: int, model: Model, k: int, allowed: IndexArray | None, degraded: list[str]
) -> Similar:
    lengths = model.lengths * model.lengths[item_index]
    scores = model.table @ model.table[item_index] / lengths
    scores[item_index] = EXCLUDED
    mask(scores, model.availability.withdrawn, hidden_now(model))
    best = top_k(scores, k, allowed)
    return Similar(best, scores[best], degraded)
