"""The interface of a language model that ranks without a decode loop, by the labels' logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


class LabelScorer(Protocol):
    """Answers the prompts of `PromptLayout`: list-wise by labels, point-wise by ratings."""

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        """Log-probabilities of the first labels at each prompt's end, among these labels.

        Args:
            prompts: of `PromptLayout.listwise`.
            n_labels: of each prompt, its number of candidates n.

        Returns:
            float32 [n] of each prompt, in the order in which the candidates are shown.
        """

    def ratings(self, beginnings: Sequence[str], ends: Sequence[Sequence[str]]) -> list[Float32]:
        """Expected rating of each candidate, Σ r · p(r) over the ratings 1 to 5.

        Args:
            beginnings: of `PromptLayout.pointwise`.
            ends: the ends of each beginning, one a candidate.

        Returns:
            float32 [number of candidates] of each beginning.
        """
