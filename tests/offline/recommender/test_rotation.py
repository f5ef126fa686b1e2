"""Positions as rotations."""

from __future__ import annotations

import torch

from offline.recommender.backbones.rotation import turn, turns_from_end

LENGTH = 6


def test_only_distances_matter() -> None:
    """A layer's attention over a history is the same wherever in a longer block it lies."""
    query = torch.randn(1, LENGTH, 4)
    key = torch.randn(1, LENGTH, 4)
    late = turns_from_end(LENGTH, 4, torch.device("cpu"))
    early = turns_from_end(50, 4, torch.device("cpu"))[:LENGTH]
    scores = [turn(query, turns) @ turn(key, turns).mT for turns in (late, early)]
    torch.testing.assert_close(scores[0], scores[1])
    assert not torch.allclose(scores[0], query @ key.mT)


def test_a_dtype_without_complex_numbers_is_rotated_as_float32() -> None:
    vectors = torch.randn(1, LENGTH, 4).bfloat16()
    turns = turns_from_end(LENGTH, 4, torch.device("cpu"))
    assert torch.equal(turn(vectors, turns), turn(vectors.float(), turns))
