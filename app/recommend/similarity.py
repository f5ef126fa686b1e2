"""Items near another one, by the direction of their vectors."""

from __future__ import annotations

from collections.abc import Sequence

from app.model.model import Model
from app.model.ranking import EXCLUDED, Best, mask, top_k
from app.recommend.rules import hidden_now


def find_similar(item_indices: Sequence[int], model: Model, k: int) -> list[Best]:
    """For each item, the k others whose vectors have the largest cosine with its own."""
    return [_find_similar(item_index, model, k) for item_index in item_indices]


def _find_similar(item_index: int, model: Model, k: int) -> Best:
    lengths = model.lengths * model.lengths[item_index]
    scores = model.table @ model.table[item_index] / lengths
    scores[item_index] = EXCLUDED
    mask(scores, model.availability.withdrawn, hidden_now(model))
    best = top_k(scores, k)
    return best, scores[best]
