"""Explanations of answers, for queries with `explain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
            _cite_knowledge(choice.items.tolist(), explanations, model)
            choice.explanations = explanations
    return choices


def _cite_knowledge(
    items: Sequence[int], explanations: Sequence[dict[str, Any]], model: Model
) -> None:
    """Add the beginning of what a language model wrote about each item, where there is a text."""
    for item_index, explanation in zip(items, explanations, strict=True):
        text = model.knowledge_texts.short_of(item_index)
        if text is not None:
            explanation["knowledge"] = text
