"""Scores for plans: one inference for all that the same source answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.model.arrays import NO_SCORES, FloatArray
from app.model.model import Model
from app.recommend.plan import Plan
from app.recommend.sources import POPULAR, Source, choose_source


@dataclass(slots=True)
class Scored:
    """A plan, the source that answers it, and what that source ranks items by."""

    plan: Plan
    source: Source
    scores: FloatArray


def score(plans: Sequence[Plan], model: Model) -> list[Scored]:
    """Score each plan by its source; by popularity where that source has nothing to rank by."""
    found = [Scored(plan, choose_source(plan), NO_SCORES) for plan in plans]
    by_source: dict[Source, list[Scored]] = {}
    for one in found:
        by_source.setdefault(one.source, []).append(one)
    for source, those in by_source.items():
        rows = source.score([one.plan for one in those], model)
        for one, row in zip(those, rows, strict=True):
            if row is None:
                one.source = POPULAR
            else:
                one.scores = row
    return found
