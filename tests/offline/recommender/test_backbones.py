"""Laws of every architecture."""

from __future__ import annotations

import pytest
import torch

from offline.recommender.backbone import Backbone, CausalBackbone
from offline.recommender.backbones import new_backbone
from offline.recommender.config import (
    Bert4recConfig,
    CaserConfig,
    Gru4recConfig,
    HstuConfig,
    LightsansConfig,
    PaupConfig,
    RecommenderConfig,
    SasrecConfig,
)

SIZE, LENGTH = 8, 9
SHAPE = {"embedding_size": SIZE, "max_length": LENGTH}
CONFIGS: tuple[RecommenderConfig, ...] = (
    SasrecConfig(**SHAPE, layers=3),
    Bert4recConfig(**SHAPE),
    Gru4recConfig(**SHAPE, layers=2, hidden_size=12),
    CaserConfig(**SHAPE, window=4, horizontal_filters=3),
    HstuConfig(**SHAPE),
    LightsansConfig(**SHAPE, interests=3),
    PaupConfig(**SHAPE, segment=3),
)


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda config: config.backbone)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    made = new_backbone(request.param).eval()
    for parameter in made.parameters():  # biases and norms at work too
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def items(batch: int, length: int) -> torch.Tensor:
    torch.manual_seed(length)
    return torch.randn(batch, length, SIZE)


@pytest.mark.parametrize("length", [1, 2, LENGTH - 1, LENGTH])
def test_serving_and_training_agree_whatever_the_padding(backbone: Backbone, length: int) -> None:
    lengths = torch.tensor([1, (length + 1) // 2, length])
    right = torch.arange(length) < lengths[:, None]
    left = items(3, length)
    for row, own in zip(left, lengths.tolist(), strict=True):
        row[:] = row.roll(length - own, dims=0)
    served = backbone.last(left, right.flip(1))
    torch.testing.assert_close(served, backbone.last_as_trained(items(3, length), right))
    alone = torch.cat(
        [
            backbone.last(row[None, :own], torch.ones(1, own, dtype=torch.bool))
            for row, own in zip(items(3, length), lengths.tolist(), strict=True)
        ]
    )
    torch.testing.assert_close(served, alone)


def test_no_position_sees_later_ones(backbone: Backbone) -> None:
    present = torch.ones(2, LENGTH, dtype=torch.bool)
    before = backbone(items(2, LENGTH), present)
    changed = items(2, LENGTH)
    changed[:, 5:] *= -1.0
    after = backbone(changed, present)
    assert not torch.allclose(after[:, 5:], before[:, 5:])
    same = torch.allclose(after[:, :5], before[:, :5], atol=1e-5)
    assert same == isinstance(backbone, CausalBackbone)


def test_every_position_is_answered_as_if_it_were_the_last(backbone: Backbone) -> None:
    """Of causal networks; a bidirectional one asks at a mask."""
    if not isinstance(backbone, CausalBackbone):
        assert hasattr(backbone, "mask")
        return
    history = items(1, LENGTH)
    everywhere = backbone(history, torch.ones(1, LENGTH, dtype=torch.bool))
    for end in (1, 4, LENGTH):
        served = backbone.last(history[:, :end], torch.ones(1, end, dtype=torch.bool))
        torch.testing.assert_close(served, everywhere[:, end - 1])


def test_order_matters(backbone: Backbone) -> None:
    history = items(1, 4)
    there = torch.ones(1, 4, dtype=torch.bool)
    swapped = history[:, [1, 0, 2, 3]]
    assert not torch.allclose(backbone.last(history, there), backbone.last(swapped, there))


def test_an_empty_history_is_answered_with_numbers(backbone: Backbone) -> None:
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert torch.isfinite(backbone.last(torch.zeros(2, 3, SIZE), nothing)).all()
