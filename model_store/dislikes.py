"""How disliked items weigh against items like them: the user's vector moves away from theirs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


def away_from(user: Vector, disliked: Vector, centre: Vector, weight: float) -> Vector:
    """What is added to a user's vector, float32 [D]: the negative part of Rocchio's feedback.

    It points away from the mean direction in which the disliked items differ from all items, and
    its length is at most `weight` times the user's. Scores are inner products with item vectors,
    so an item loses by how much it is like what was disliked.

    Args:
        user: float32 [D].
        disliked: vectors of the items, float32 [M, D].
        centre: mean vector of all items, float32 [D]. Without it, popular items would lose with
            every dislike, since what they share is in each of them.
        weight: 0 or more.
    """
    directions = disliked - centre
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    mean = (directions / np.maximum(lengths, np.float32(1e-12))).mean(axis=0)
    shift: Vector = (-weight * np.linalg.norm(user) * mean).astype(np.float32)
    return shift
