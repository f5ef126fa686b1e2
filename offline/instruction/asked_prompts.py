"""Prompts about many cases, and the scores of candidates that a language model gives for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from model_store.rerank_prompt import PromptLayout, presentation_order
from offline.instruction.label_scorer import Float32
from offline.instruction.questions import Question


@dataclass(frozen=True)
class AskedPrompts:
    """Prompts of cases, as the service writes them.

    Attributes:
        texts: one a case.
        shown: of each, the candidates' positions in the recommender's order, as they are shown.
    """

    texts: Sequence[str]
    shown: Sequence[Sequence[int]]

    @classmethod
    def of(cls, questions: Sequence[Question], layout: PromptLayout, titles: Sequence[str]) -> Self:
        """The prompts of questions.

        Args:
            questions: one a case.
            layout: of the prompts.
            titles: of all items, row i that of item_index i + 1.
        """
        shown = [presentation_order(one.history, one.candidates) for one in questions]
        texts = [
            one.listwise(layout, titles, order) for one, order in zip(questions, shown, strict=True)
        ]
        return cls(texts, shown)

    @property
    def n_labels(self) -> list[int]:
        """Number of candidates of each."""
        return [len(order) for order in self.shown]

    def in_recommenders_order(
        self, label_scores: Sequence[Float32], bias: Float32 | None = None
    ) -> list[Float32]:
        """Scores of candidates from those of the labels they are shown with.

        Args:
            label_scores: float32 [number of candidates] of each case.
            bias: of each label, subtracted; None: nothing is.
        """
        found = []
        for order, of_case in zip(self.shown, label_scores, strict=True):
            scores = np.empty(len(order), dtype=np.float32)
            scores[list(order)] = of_case if bias is None else of_case - bias[: len(order)]
            found.append(scores)
        return found


def measure_label_bias(label_scores: Sequence[Float32], n_labels: int) -> Float32:
    """Mean log-probability of each label, float32 [n_labels] (contextual calibration).

    Candidates are shown in an order that has nothing to do with them, so that a label which is
    preferred over many prompts is preferred for its own sake.

    Args:
        label_scores: of each prompt; those with fewer than `n_labels` are left out.
        n_labels: of a whole prompt; zeros if there is none.
    """
    whole = [of_case for of_case in label_scores if len(of_case) == n_labels]
    if not whole:
        return np.zeros(n_labels, np.float32)
    bias: Float32 = np.stack(whole).mean(axis=0, dtype=np.float64).astype(np.float32)
    return bias
