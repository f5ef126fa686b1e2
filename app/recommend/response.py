"""A choice as the contract's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.model.model import Model
from app.recommend.rounding import six_digits
from app.recommend.selection import Choice


def respond(
    choices: Sequence[Choice], model: Model, timings_ms: dict[str, float]
) -> list[dict[str, Any]]:
    """JSON-ready objects without their request_id."""
    return [_respond(choice, model, timings_ms) for choice in choices]


def _respond(choice: Choice, model: Model, timings_ms: dict[str, float]) -> dict[str, Any]:
    plan = choice.plan
    ids, fields = model.ids.ids, plan.query.fields
    indices = choice.items.tolist()
    items: list[dict[str, Any]] = [
        {"item_id": ids[index - 1], "rank": rank, "score": score, "explanation": None}
        for rank, (index, score) in enumerate(
            zip(indices, six_digits(choice.scores.tolist()), strict=True), start=1
        )
    ]
    if choice.explanations is not None:
        for item, explanation in zip(items, choice.explanations, strict=True):
            item["explanation"] = explanation
    if fields:
        for item, values in zip(items, model.fields_of_each(indices, fields), strict=True):
            item["fields"] = values
    answer: dict[str, Any] = {
        "request_id": None,
        "user_id": plan.query.user_id,
        "model_version": model.version,
        "served_by": choice.source.name,
        "rerank": plan.reranked,
        "degraded": plan.degraded,
        "items": items,
        "timings_ms": timings_ms,
    }
    if choice.exploration is not None:
        answer["exploration"] = asdict(choice.exploration)
    return answer
