from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from offline.recommender.losses import catalogue_cross_entropy, sampled_cross_entropy


@pytest.fixture
def positions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    users = torch.randn(1500, 8, requires_grad=True)  # more than a chunk, and no multiple of one
    table = torch.randn(40, 8, requires_grad=True)
    return users, table, torch.randint(0, 40, (1500,))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_chunked_loss_is_cross_entropy(positions, label_smoothing: float) -> None:
    users, table, targets = positions
    wanted = F.cross_entropy(users @ table.T, targets, label_smoothing=label_smoothing)
    wanted_gradients = torch.autograd.grad(3 * wanted, (users, table))
    loss = catalogue_cross_entropy(users, table, targets, label_smoothing)
    gradients = torch.autograd.grad(3 * loss, (users, table))
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradients, wanted_gradients)


def test_large_logits_do_not_overflow() -> None:
    users, table = torch.tensor([[1000.0]]), torch.tensor([[1.0], [-1.0]])
    assert catalogue_cross_entropy(users, table, torch.tensor([0])).item() == 0.0
    assert catalogue_cross_entropy(users, table, torch.tensor([1])).item() == 2000.0


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_sampled_loss_estimates_the_whole_one_however_negatives_are_drawn(
    positions, power: float
) -> None:
    users, table, targets = positions
    chances = torch.arange(1.0, 41.0) ** power
    chances /= chances.sum()
    n = 20_000
    negatives = torch.multinomial(chances, n, replacement=True)
    sampled = sampled_cross_entropy(
        users, table, targets, negatives, (n * chances[negatives]).log()
    )
    assert sampled.item() == pytest.approx(
        F.cross_entropy(users @ table.T, targets).item(), abs=0.02
    )


def test_the_target_is_no_negative_of_its_own() -> None:
    users, table = torch.ones(1, 1), torch.tensor([[2.0], [1.0]])
    only_itself = torch.tensor([0, 0])
    loss = sampled_cross_entropy(users, table, torch.tensor([0]), only_itself, torch.zeros(2))
    assert loss.item() == 0.0
