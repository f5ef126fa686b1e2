from __future__ import annotations

import numpy as np

from offline.data.histories import pad_right
from offline.recommender.config import Bert4recConfig, TrainingConfig
from offline.recommender.criterion import Criterion
from offline.recommender.objective import HiddenItem

COUNTS = np.arange(12, dtype=np.int64)


def test_some_items_are_hidden_and_of_some_sequences_the_last_alone() -> None:
    config = Bert4recConfig(hidden_share=0.3, last_share=0.4)
    objective = HiddenItem(Criterion(COUNTS, TrainingConfig()), config)
    lengths = np.random.default_rng(1).integers(2, 12, 4_000)
    block = pad_right([np.ones(length, np.int32) for length in lengths])
    hidden = objective.choose(block, np.random.default_rng(0))
    assert not hidden[block == 0].any()
    assert hidden.any(axis=1).all()
    longest = hidden[lengths == 11]
    last_alone = (longest.sum(axis=1) == 1) & longest[:, -1]
    assert abs(last_alone.mean() - 0.4) < 0.08
    assert abs(longest[~last_alone][:, :-1].mean() - 0.3) < 0.03
