"""Items like those that a user dislikes lose some of their score."""

from __future__ import annotations

from collections.abc import Sequence

from app.model.arrays import FloatArray
from app.model.model import Model
from app.recommend.plan import Plan
from model_store.dislikes import away_from


def move_away(
    found: Sequence[FloatArray | None], plans: Sequence[Plan], model: Model
) -> Sequence[FloatArray | None]:
    """What the model found for each plan, moved away from what its user dislikes.

    Args:
        found: scores [N+1] or, where a retriever reads them, user vectors [D].
        plans: as many.
        model: whose table they are of.
    """
    moved = [*found]
    for position, (row, plan) in enumerate(zip(found, plans, strict=True)):
        shift = None if row is None else shift_of(plan, model)
        if row is not None and shift is not None:
            moved[position] = row + (shift if model.retriever else model.table @ shift)
    return moved


def shift_of(plan: Plan, model: Model) -> FloatArray | None:
    """What is added to the user's vector, [D]; None: nothing is."""
    disliked, weight = plan.history.disliked, model.events.dislike_weight
    if not weight or not len(disliked) or not len(plan.history.items):
        return None
    [user] = model.sequence.user_vectors([plan.history.items])
    return away_from(user, model.table[disliked], model.centre, weight)
