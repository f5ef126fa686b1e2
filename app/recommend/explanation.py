"""Explanations of answers, for queries with `explain`."""

from __future__ import annotations

from collections.abc import Sequence

from app.model.model import Model
from app.recommend.selection import Choice


def explain(choices: Sequence[Choice], model: Model) -> Sequence[Choice]:
    """Add the reasons for its items to each choice whose query has `explain`."""
    for choice in choices:
        if choice.plan.query.explain:
            explanations = choice.source.explain(choice.plan, choice.items, choice.scores, model)
            if choice.reordering is not None:
                reranks = choice.reordering.explain(choice.items)
                for explanation, rerank in zip(explanations, reranks, strict=True):
                    explanation["rerank"] = rerank
            choice.explanations = explanations
    return choices
