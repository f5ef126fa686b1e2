from __future__ import annotations

import pytest
import torch

from offline.recommender.backbone import Sasrec
from offline.recommender.config import SasrecConfig
from offline.recommender.rotation import turn, turns_from_end

SIZE, LENGTH = 8, 6


@pytest.fixture(scope="module")
def backbone() -> Sasrec:
    torch.manual_seed(0)
    config = SasrecConfig(embedding_size=SIZE, layers=3, heads=2, max_length=LENGTH)
    sasrec = Sasrec(config).eval()
    for parameter in sasrec.parameters():  # biases and norms at work too
        torch.nn.init.normal_(parameter, std=0.5)
    return sasrec


def items(batch: int, length: int) -> torch.Tensor:
    torch.manual_seed(length)
    return torch.randn(batch, length, SIZE)


def present(batch: int, length: int) -> torch.Tensor:
    return torch.ones(batch, length, dtype=torch.bool)


@pytest.mark.parametrize("length", [1, 2, LENGTH - 1, LENGTH])
def test_the_serving_path_equals_the_trained_one(backbone: Sasrec, length: int) -> None:
    lengths = torch.tensor([1, (length + 1) // 2, length])
    right = torch.arange(length) < lengths[:, None]
    everywhere = backbone(items(3, length), right)
    assert torch.isfinite(everywhere).all()
    left = items(3, length)
    for row, own in zip(left, lengths.tolist(), strict=True):
        row[:] = row.roll(length - own, dims=0)
    served = backbone.last(left, right.flip(1))
    torch.testing.assert_close(served, everywhere[torch.arange(3), lengths - 1])


def test_an_empty_history_is_answered_with_numbers(backbone: Sasrec) -> None:
    assert torch.isfinite(backbone.last(items(2, 3), ~present(2, 3))).all()


def test_no_position_sees_what_comes_after_it(backbone: Sasrec) -> None:
    before = backbone(items(2, LENGTH), present(2, LENGTH))
    changed = items(2, LENGTH)
    changed[:, 4:] *= -1.0
    after = backbone(changed, present(2, LENGTH))
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_padding_on_the_left_changes_nothing(backbone: Sasrec) -> None:
    history = items(2, 2)
    padded = torch.cat([torch.full((2, 4, SIZE), 99.0), history], dim=1)
    there = torch.cat([~present(2, 4), present(2, 2)], dim=1)
    torch.testing.assert_close(backbone.last(padded, there), backbone.last(history, present(2, 2)))


def test_order_matters(backbone: Sasrec) -> None:
    history = items(1, 4)
    swapped = history[:, [1, 0, 2, 3]]
    there = present(1, 4)
    assert not torch.allclose(backbone.last(history, there), backbone.last(swapped, there))


def test_only_distances_matter(backbone: Sasrec) -> None:
    """A layer's attention over a history is the same wherever in a longer block it lies."""
    query = torch.randn(1, LENGTH, 4)
    key = torch.randn(1, LENGTH, 4)
    late = turns_from_end(LENGTH, 4, query.device)
    early = turns_from_end(50, 4, query.device)[:LENGTH]
    scores = [turn(query, turns) @ turn(key, turns).mT for turns in (late, early)]
    torch.testing.assert_close(scores[0], scores[1])
    assert not torch.allclose(scores[0], query @ key.mT)
