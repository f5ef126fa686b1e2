"""A few test users with what they chose and what they would be recommended, for a human eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from offline.data.split import Cases
from offline.recommender.recommender import Baseline, rank_unseen

N_EXAMPLES = 10
N_ITEMS = 10
"""Items shown of a history, the newest ones, and of the recommendations."""


@dataclass(frozen=True)
class Names:
    """What to call users and items.

    Attributes:
        users: ids, by position in `Interactions.user_ids`.
        items: titles, row i that of item_index i + 1.
    """

    users: Sequence[str]
    items: Sequence[str]

    def item(self, item_index: int) -> str:
        """The title of an item."""
        return self.items[item_index - 1]


def make_examples(model: Baseline, cases: Cases, names: Names) -> list[dict[str, Any]]:
    """Cases from the shortest history to the longest, with the model's first items.

    Args:
        model: recommends.
        cases: to choose from, evenly over the lengths of their histories.
        names: of their users and items.

    Returns:
        For each: the user, the number of interactions, the newest items of the history (oldest
        first), the first recommended items, and the target, by their titles; and the rank of the
        target among these items, None where it is not among them.
    """
    by_length = np.argsort(np.diff(cases.history_offsets), kind="stable")
    places = np.linspace(0, len(by_length) - 1, min(N_EXAMPLES, len(by_length)))
    chosen = by_length[places.round().astype(np.int64)].tolist()
    if not chosen:
        return []
    histories = [cases.history(case) for case in chosen]
    best, _ = rank_unseen(model.score, histories, N_ITEMS)
    return [
        {
            "user": names.users[cases.users[case]],
            "interactions": len(history),
            "history": [names.item(item) for item in history[-N_ITEMS:].tolist()],
            "recommended": [names.item(item) for item in items if item],
            "target": names.item(target),
            "rank": items.index(target) + 1 if target in items else None,
        }
        for case, history, items, target in zip(
            chosen, histories, best.tolist(), cases.targets[chosen].tolist(), strict=True
        )
    ]
