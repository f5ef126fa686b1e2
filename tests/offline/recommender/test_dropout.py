from __future__ import annotations

import pytest
import torch

from offline.recommender.dropout import ByteDropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_drops_the_rate_and_keeps_the_expectation(rate: float) -> None:
    torch.manual_seed(0)
    states = torch.ones(1001, 201)
    dropped = ByteDropout(rate)(states)
    assert dropped.shape == states.shape
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)


def test_gradients_flow_through_kept_values() -> None:
    states = torch.ones(64, requires_grad=True)
    dropped = ByteDropout(0.5)(states)
    dropped.sum().backward()
    assert torch.equal(states.grad, dropped.detach())


def test_is_identity_outside_of_training_and_at_rate_zero() -> None:
    states = torch.randn(3, 5)
    assert ByteDropout(0.5).eval()(states) is states
    assert ByteDropout(0.0)(states) is states


def test_follows_the_seed() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(ByteDropout(0.5)(torch.ones(100)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_adding_is_dropout_and_a_sum() -> None:
    states, new = torch.randn(8, 9), torch.randn(8, 9)
    dropout = ByteDropout(0.5)
    torch.manual_seed(3)
    wanted = states + dropout(new)
    torch.manual_seed(3)
    torch.testing.assert_close(dropout.added(states, new), wanted)
    torch.testing.assert_close(dropout.eval().added(states, new), states + new)
