"""What a refresh finds in its data: what changed, and whether anything can be told."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_store.id_map import IdMap
from offline.refresh.drift import measure_drift
from offline.refresh.non_inferiority import MIN_USERS
from offline.stages.refreshed_data import RefreshedDataArtifact

SHOWN_ITEMS = 20
Document = dict[str, Any]


def describe_data(data: RefreshedDataArtifact, running_items: IdMap) -> Document:
    """What is new, and how far it is from what the running model was trained on.

    Args:
        data: old and new interactions.
        running_items: the running model's catalogue.
    """
    interactions, is_new = data.interactions(), data.is_new()
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.offsets))
    active, had_some = np.unique(users[is_new]), np.unique(users[~is_new])
    added = [one for one in interactions.item_ids.ids if one not in running_items]
    drift = measure_drift(interactions, is_new, data.attributes(), running_items)
    return {
        **{name: value for name, value in data.facts.items() if name != "seconds"},
        "active_users": len(active),
        "new_users": len(np.setdiff1d(active, had_some)),
        "items_added": len(added),
        "some_items_added": added[:SHOWN_ITEMS],
        "drift": drift.to_document(),
    }


def reason_to_stop(data: RefreshedDataArtifact) -> str | None:
    """Why nothing can be told from these data, before anything is trained; None: it can."""
    facts = data.facts
    if not facts["new_interactions"]:
        return "there are no new events"
    if facts["test_users"] < MIN_USERS:
        return (
            f"{facts['test_users']} users in the newest slice of {facts['new_interactions']:,} new "
            f"events, and {MIN_USERS} are needed to tell"
        )
    if not facts["validation_cases"]:
        return "no new event before the newest slice can choose the epoch"
    return None
