"""Data augmentation for sequential recommendation (Llama4Rec 4.2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offline.augmentation.draws import Draw
from offline.data.insertions import Insertions
from offline.instruction.label_scorer import Float32


def picked_insertions(draws: Sequence[Draw], scores: Sequence[Float32]) -> Insertions:
    """The candidate of each draw that a language model holds for the likeliest.

    Args:
        draws: A of them.
        scores: float32 [number of candidates] of each draw, higher is likelier; the first of equal
            ones is picked.
    """
    picked = [
        draw.question.candidates[int(np.argmax(of_draw))]
        for draw, of_draw in zip(draws, scores, strict=True)
    ]
    return Insertions(
        np.array([draw.question.user for draw in draws], dtype=np.int32),
        np.array([draw.position for draw in draws], dtype=np.int32),
        np.array(picked, dtype=np.int32),
    )
