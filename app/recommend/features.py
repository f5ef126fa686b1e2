"""Stored histories of the users of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from app.model.model import Model
from app.recommend.plan import Plan
from app.recommend.served import exclude_served, plans_that_ask
from app.store.feature_store import FeatureStore


async def add_features(plans: Sequence[Plan], model: Model, store: FeatureStore) -> None:
    """Add its stored history to each plan whose query has none; one round trip for all.

    Exclude what users were answered before, where plans ask for that.

    Each plan waits no longer than its own deadline allows.
    """
    asking = plans_that_ask(plans)
    if asking and store.served is not None:
        # Both are sent in one round trip: see `ServedAnswers.read`.
        await asyncio.gather(
            exclude_served(asking, model, store.served), _add_histories(plans, model, store)
        )
    else:
        await _add_histories(plans, model, store)


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
