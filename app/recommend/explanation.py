"""Explanations of answers, for queries with `explain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.model.model import Model
from app.model.rule_effect import Effect
from app.recommend.best import plain_scores
from app.recommend.selection import Choice


def explain(choices: Sequence[Choice], model: Model) -> Sequence[Choice]:
    """Add the reasons for its items to each choice whose query has `explain`."""
    for choice in choices:
        if choice.plan.query.explain:
            rules, scores = choice.plan.rules, choice.scores
            if rules is not None:
                scores = plain_scores(rules, choice.source, choice.items, scores, model)
            explanations = choice.source.explain(choice.plan, choice.items, scores, model)
            if rules is not None:
                _name_rules(choice, rules, explanations)
            if choice.reordering is not None:
                reranks = choice.reordering.explain(choice.items)
                for explanation, rerank in zip(explanations, reranks, strict=True):
                    explanation["rerank"] = rerank
            _cite_knowledge(choice.items.tolist(), explanations, model)
            choice.explanations = explanations
    return choices


def _name_rules(choice: Choice, rules: Effect, explanations: list[dict[str, Any]]) -> None:
    """Add the rules that moved each item."""
    for item, explanation in zip(choice.items.tolist(), explanations, strict=True):
        moved_by = [one.explain() for one in rules.weighted_by(item)]
        moved_by += choice.moved_by.get(item, ())
        if moved_by:
            explanation["rules"] = moved_by


def _cite_knowledge(
    items: Sequence[int], explanations: Sequence[dict[str, Any]], model: Model
) -> None:
    """Add the beginning of what a language model wrote about each item, where there is a text."""
    for item_index, explanation in zip(items, explanations, strict=True):
        text = model.knowledge_texts.short_of(item_index)
        if text is not None:
            explanation["knowledge"] = text
