from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from offline.recommender.contrast import VIEWS, View, crop, likeness_loss, mask, reorder

HISTORY = np.arange(1, 11, dtype=np.int32)


def test_the_loss_is_that_of_telling_the_counterpart_from_all_other_views() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(3, 4), torch.randn(3, 4)
    views = [*F.normalize(first, dim=1), *F.normalize(second, dim=1)]
    wanted = 0.0
    for i, view in enumerate(views):
        likenesses = {j: torch.exp(view @ other / 0.5) for j, other in enumerate(views) if j != i}
        wanted -= float(torch.log(likenesses[(i + 3) % 6] / sum(likenesses.values()))) / 6
    assert likeness_loss(first, second, 0.5).item() == pytest.approx(wanted, rel=1e-5)


def test_views_that_are_alike_cost_less() -> None:
    torch.manual_seed(0)
    first = torch.randn(8, 4)
    assert likeness_loss(first, first, 0.5) < likeness_loss(first, torch.randn(8, 4), 0.5)


def test_a_crop_is_a_stretch() -> None:
    cropped = crop(HISTORY, np.random.default_rng(0))
    assert len(cropped) == 6
    assert (np.diff(cropped) == 1).all()


def test_a_mask_hides_some_items() -> None:
    masked = mask(HISTORY, np.random.default_rng(0))
    assert (masked == 0).sum() == 3
    assert (masked[masked > 0] == HISTORY[masked > 0]).all()


def test_a_reordered_history_holds_the_same_items() -> None:
    reordered = reorder(HISTORY, np.random.default_rng(0))
    assert sorted(reordered) == HISTORY.tolist()
    moved = np.flatnonzero(reordered != HISTORY)
    assert len(moved) > 0
    assert moved[-1] - moved[0] < 6


@pytest.mark.parametrize("view", VIEWS)
def test_a_lone_item_has_views_and_the_history_stays(view: View) -> None:
    rng = np.random.default_rng(0)
    assert len(view(HISTORY[:1], rng)) == 1
    before = HISTORY.copy()
    view(HISTORY, rng)
    np.testing.assert_array_equal(HISTORY, before)
