"""Losses and mixed negatives, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from offline.direct.losses import bpr_loss, contrastive_loss, squared_lengths
from offline.direct.mixing import mix_negatives


def test_bpr_is_the_sum_of_log_sigmoids_and_finite_for_large_gaps() -> None:
    preferred = torch.tensor([1.0, -2.0, 100.0], requires_grad=True)
    others = torch.tensor([0.5, 1.0, -100.0])
    expected = -sum(math.log(1 / (1 + math.exp(-gap))) for gap in (0.5, -3.0))
    loss = bpr_loss(preferred, others)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert preferred.grad is not None
    assert (preferred.grad <= 0).all()


def test_the_contrast_is_a_softmax_of_cosines_over_the_other_view() -> None:
    """Cosines of node 1: 1 and 0; of node 2: 0.6 and 0.8, whatever the vectors' lengths."""
    first = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    second = torch.tensor([[5.0, 0.0], [3.0, 4.0]])
    cosines = [(1.0, 0.6), (0.0, 0.8)]
    own = (math.exp(1.0 / 0.5), math.exp(0.8 / 0.5))
    alls = [sum(math.exp(cosine / 0.5) for cosine in row) for row in cosines]
    expected = -sum(math.log(one / every) for one, every in zip(own, alls, strict=True)) / 2
    assert contrastive_loss(first, second, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_lengths_are_halved_squares() -> None:
    vectors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 1.0]])
    assert squared_lengths(*vectors).item() == pytest.approx((25 + 2) / 2)


class EvenShare:
    """A random generator whose α is always a half."""

    def random(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.full(shape, 0.5, dtype=dtype)


def test_each_layer_of_a_negative_is_of_the_candidate_that_the_user_scores_highest_there() -> None:
    # One triple, two layers, two candidates; the user looks at x in layer 0 and at y in layer 1.
    users = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    positives = torch.tensor([[[2.0, 2.0], [4.0, 4.0]]])
    candidates = torch.tensor([[[[6.0, 0.0], [6.0, 0.0]], [[0.0, 8.0], [0.0, 8.0]]]])
    # Mixed half and half: the first is (4, 1), (5, 2); the second (1, 5), (2, 6).
    # Layer 0 takes the first (x of 4), layer 1 the second (y of 6); their mean is (3, 3.5).
    mixed = mix_negatives(users, positives, candidates, EvenShare())  # type: ignore[arg-type]
    assert mixed.tolist() == [[3.0, 3.5]]


def test_a_single_candidate_lies_between_itself_and_the_users_item() -> None:
    rng = np.random.default_rng(0)
    shape = (50, 1, 3, 4)
    users, positives = torch.zeros(50, 3, 4), torch.ones(50, 3, 4)
    mixed = mix_negatives(users, positives, torch.zeros(shape), rng)
    assert ((mixed > 0) & (mixed < 1)).all()
    assert mixed.std() > 0.05
