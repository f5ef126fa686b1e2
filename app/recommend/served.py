"""Feeds that don't repeat: items of a user's last answers are left out, where a request asks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.model.model import Model
from app.recommend.plan import Plan
from app.store.served_answers import ServedAnswers
from model_store.served import MAX_ANSWERS, ServedAnswer

LABEL = "served"
"""In `degraded`: answers before this one could not be read, or this one not kept."""


def plans_that_ask(plans: Sequence[Plan]) -> list[Plan]:
    """Those whose items are not to be repeated."""
    return [plan for plan in plans if plan.query.exclude_served is not None]


async def exclude_served(plans: Sequence[Plan], model: Model, store: ServedAnswers) -> None:
    """Exclude what the users of plans were answered before.

    Args:
        plans: all of them ask for it.
        model: has the items.
        store: of the answers.
    """
    limits = [plan.deadline.remaining_s for plan in plans if plan.deadline]
    limit_s = max(limits) if len(limits) == len(plans) else None
    if limit_s == 0:
        found: Sequence[list[ServedAnswer] | None] = [None] * len(plans)
    else:
        user_ids = [plan.query.user_id or "" for plan in plans]
        found = await store.read(user_ids, [_n_answers(plan) for plan in plans], limit_s)
    now_s = time.time()
    for plan, answers in zip(plans, found, strict=True):
        if answers is None:
            plan.degraded.append(LABEL)
            continue
        wanted = plan.query.exclude_served
        assert wanted is not None  # noqa: S101 - all of them ask
        since_s = 0.0 if wanted.minutes is None else now_s - 60 * wanted.minutes
        item_ids = [one for answer in answers if answer.at_s >= since_s for one in answer.item_ids]
        if item_ids:
            plan.excluded = np.concatenate([plan.excluded, model.ids.indices(item_ids)[0]])


async def keep_served(
    plans: Sequence[Plan], answers: Sequence[dict[str, Any]], store: ServedAnswers
) -> None:
    """Keep the answers to plans that ask, before anybody sees them.

    Args:
        plans: some of them ask.
        answers: to all of them.
        store: of the answers.
    """
    asking = [
        (plan, answer)
        for plan, answer in zip(plans, answers, strict=True)
        if plan.query.exclude_served is not None
    ]
    items = [
        (plan.query.user_id or "", [item["item_id"] for item in answer["items"]])
        for plan, answer in asking
    ]
    if not await store.keep(items):
        for plan, _ in asking:
            if LABEL not in plan.degraded:
                plan.degraded.append(LABEL)


def _n_answers(plan: Plan) -> int:
    wanted = plan.query.exclude_served
    return MAX_ANSWERS if wanted is None or wanted.answers is None else wanted.answers
