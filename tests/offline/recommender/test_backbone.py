from __future__ import annotations

from dataclasses import astuple

import pytest
import torch

from offline.recommender.backbone import Sasrec
from offline.recommender.config import SasrecConfig
from offline.recommender.rotation import Turns, turn

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
    there = present(4, length)
    there[0, : length - 1] = False
    there[1, : length // 2] = False
    there[2] = False
    everywhere = backbone(items(4, length), there)
    assert torch.isfinite(everywhere).all()
    torch.testing.assert_close(backbone.last(items(4, length), there), everywhere[:, -1])


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
    query = torch.randn(1, 2, LENGTH, 4)
    key = torch.randn(1, 2, LENGTH, 4)
    late = Turns.of_length(LENGTH, 4, query.device)
    early = Turns(*(part[:LENGTH] for part in astuple(Turns.of_length(50, 4, query.device))))
    scores = [turn(query, turns) @ turn(key, turns).mT for turns in (late, early)]
    torch.testing.assert_close(scores[0], scores[1])
    assert not torch.allclose(scores[0], query @ key.mT)
