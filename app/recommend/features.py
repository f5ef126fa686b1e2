"""Stored histories of the users of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import numpy as np

from app.model.model import Model
from app.recommend.plan import Plan
from app.recommend.served import exclude_served
from app.store.feature_store import FeatureStore


def add_features(
    plans: Sequence[Plan], model: Model, store: FeatureStore, asking: Sequence[Plan] = ()
) -> Awaitable[object]:
    """Add its stored history to each plan whose query has none; one round trip for all.

    Each plan waits no longer than its own deadline allows.

    Args:
        plans: of one request.
        model: has the items.
        store: has the histories and the answers.
        asking: those from which to exclude what their users were answered before.
    """
    histories = _add_histories(plans, model, store)
    if not asking or store.served is None:
        return histories
    # Both are sent in one round trip: see `ServedAnswers.read`.
    return asyncio.gather(exclude_served(asking, model, store.served), histories)


async def _add_histories(plans: Sequence[Plan], model: Model, store: FeatureStore) -> None:
    stored = [
        plan for plan in plans if plan.query.history is None and plan.query.user_id is not None
    ]
    if stored:
        histories = await store.read_histories(
            [plan.query.user_id or "" for plan in stored],
            model.version,
            model.ids,
            [plan.deadline for plan in stored],
            model.events,
        )
        for plan, history in zip(stored, histories, strict=True):
            plan.history = history
            if len(history.disliked):
                plan.excluded = np.concatenate([plan.excluded, history.disliked])
            if not history.is_complete:
                plan.degraded.append("features")
    for plan in plans:
        if model.repeats != "keep":
            plan.history = plan.history.collapsed(model.repeats)
        if plan.history.n_unknown:
            plan.degraded.append(f"unknown_items:{plan.history.n_unknown}")
