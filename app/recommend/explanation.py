"""Explanations of answers, for those who ask for them."""

from __future__ import annotations

from collections.abc import Sequence

from app.model.model import Model
from app.recommend.selection import Choice


def explain(choices: Sequence[Choice], model: Model) -> Sequence[Choice]:
    """Give each choice the reasons for its items, where its query asks for them."""
    for choice in choices:
        if choice.plan.query.explain:
            choice.explanations = choice.source.explain(
                choice.plan, choice.items, choice.scores, model
            )
    return choices
