"""How much dislikes weigh against similar items: chosen on validation cases of users with some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.codecs import UserHistory
from model_store.dislikes import away_from
from offline.data.event_meaning import TypedInteractions
from offline.data.histories import Items
from offline.data.interactions import Interactions
from offline.data.split import Cases
from offline.metrics import ndcg_at_k, rank_targets
from offline.recommender.recommender import Recommender

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
# Of fewer, the best weight is the best by luck.
MIN_CASES = 100
_CASES_AT_ONCE = 64


@dataclass(frozen=True)
class Choice:
    """The chosen weight.

    Attributes:
        weight: of WEIGHTS, the one with the best NDCG@10, the smallest of equal ones.
        n_cases: validation cases whose users disliked something before.
        ndcg: NDCG@10 on these by weight; empty where they are too few, and the weight is 0.
    """

    weight: float
    n_cases: int
    ndcg: dict[float, float]


def disliked_before(
    typed: TypedInteractions, interactions: Interactions, cases: Cases
) -> list[Items]:
    """Items that each case's user disliked before the case's target, and not the target itself."""
    everything = typed.interactions
    rows = {user_id: row for row, user_id in enumerate(everything.user_ids)}
    disliked = []
    for case, user in enumerate(cases.users.tolist()):
        target = int(interactions.offsets[user]) + len(cases.history(case))
        before = float(interactions.timestamps[target])
        row = rows[interactions.user_ids[user]]
        span = slice(int(everything.offsets[row]), int(everything.offsets[row + 1]))
        own = UserHistory(everything.items[span], everything.timestamps[span], typed.kinds[span])
        items = {index for index, at in own.negative() if at < before}
        disliked.append(np.array(sorted(items - {int(cases.targets[case])}), dtype=np.int32))
    return disliked


def choose_weight(model: Recommender, cases: Cases, disliked: Sequence[Items]) -> Choice:
    """The weight with the best ranks of what users chose next.

    Args:
        model: fitted without the cases' targets.
        cases: validation cases.
        disliked: of each case, which are excluded from its ranking as from an answer.
    """
    chosen = [case for case, items in enumerate(disliked) if len(items)]
    if len(chosen) < MIN_CASES:
        return Choice(0.0, len(chosen), {})
    table = model.item_table
    centre = table[1:].mean(axis=0)
    ranks: dict[float, list[np.ndarray]] = {weight: [] for weight in WEIGHTS}
    for start in range(0, len(chosen), _CASES_AT_ONCE):
        some = chosen[start : start + _CASES_AT_ONCE]
        users = model.user_vectors([cases.history(case) for case in some])
        left_out = [np.concatenate([cases.history(case), disliked[case]]) for case in some]
        for weight in WEIGHTS:
            moved = [
                user + away_from(user, table[disliked[case]], centre, weight)
                for user, case in zip(users, some, strict=True)
            ]
            scores = np.stack(moved) @ table.T
            ranks[weight].append(rank_targets(scores, left_out, cases.targets[some]))
    ndcg = {weight: ndcg_at_k(np.concatenate(found)) for weight, found in ranks.items()}
    return Choice(max(WEIGHTS, key=lambda weight: ndcg[weight]), len(chosen), ndcg)
