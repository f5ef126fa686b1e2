"""Drawing items to be told apart from the targets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Logs = npt.NDArray[np.float32]

_DRAW_POWER = 0.5


class NegativeSampler:
    """Draws different items, popular ones more often, the most popular ones always.

    An item's chance to be drawn is in proportion to its count ** 0.5, up to certainty. Drawn with
    replacement, as is usual, popular items come several times and rare ones not at all: the
    gradients are noisier, and on MovieLens-100K training takes three times the epochs.

    Args:
        counts: interactions of each of C items, int64 [C], none of them 0.
        size: items in a draw, S < C.
    """

    def __init__(self, counts: npt.NDArray[np.int64], size: int) -> None:
        self.size = size
        self._chances = chances_of(counts.astype(np.float64) ** _DRAW_POWER, size)
        self._certain = np.flatnonzero(self._chances >= 1)
        self._others = np.flatnonzero(self._chances < 1)
        self._log_chances = np.log(self._chances).astype(np.float32)

    def draw(self, rng: np.random.Generator) -> tuple[Rows, Logs]:
        """Places of S different items, int64 [S], and logs of their chances, float32 [S]."""
        # Items in random order, each as long as its chance: one of them lies at each whole step.
        shuffled = rng.permutation(self._others)
        ends = self._chances[shuffled].cumsum()
        steps = rng.random() + np.arange(self.size - len(self._certain))
        found = shuffled[ends.searchsorted(steps, side="right").clip(max=len(shuffled) - 1)]
        drawn = np.concatenate([self._certain, found])
        return drawn, self._log_chances[drawn]


def chances_of(weights: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Chances in proportion to weights but at most 1, whose sum is `size` < len(weights)."""
    certain = np.zeros(len(weights), dtype=np.bool_)
    while True:
        left = size - certain.sum()
        chances = np.where(certain, 1.0, weights * left / weights[~certain].sum())
        if not (chances > 1).any():
            return chances
        certain |= chances >= 1
