"""The outcome of reranking one answer, for its explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.model.arrays import IndexArray
from app.reranking.outcome import Result


@dataclass(frozen=True, slots=True)
class Reordering:
    """A base ranking, and what the language model made of its first items.

    Attributes:
        base: item_indices of the base ranking, best first.
        candidates: those that the language model was to rank, in the order of `base`.
        weight: of the language model's ranking, alpha_u.
        result: the outcome.
    """

    base: IndexArray
    candidates: IndexArray
    weight: float
    result: Result

    def explain(self, items: IndexArray) -> list[dict[str, Any]]:
        """For each item, its ranks by the recommender and by the language model, if it has them.

        Only an item that rules put into the answer has no rank by the recommender.
        """
        base_rank = {item: rank for rank, item in enumerate(self.base.tolist(), start=1)}
        llm_rank: dict[int, int] = {}
        similar_user = None
        if self.result.answer is not None:
            order = np.argsort(-self.result.answer.scores, kind="stable")
            ranked = self.candidates[order].tolist()
            llm_rank = {item: rank for rank, item in enumerate(ranked, start=1)}
            similar_user = self.result.answer.similar_user
        return [
            {
                "outcome": self.result.outcome,
                "base_rank": base_rank.get(item),
                "llm_rank": llm_rank.get(item),
                "weight": self.weight,
                "similar_user": similar_user,
            }
            for item in items.tolist()
        ]
