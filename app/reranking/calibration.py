"""From what a language model gives for labels and ratings to scores of candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.reranking.job import Scores
from model_store.rerank_prompt import RATINGS


def label_scores(of_labels: Scores, bias: Sequence[float]) -> Scores:
    """Logits or log-probabilities of labels [k'], less the mean that each label's position has."""
    if not bias:
        return of_labels
    return of_labels - np.array(bias[: len(of_labels)], dtype=np.float32)


def expected_ratings(logits: Scores) -> Scores:
    """Σ p_r r over the rating tokens: [k'] from logits or log-probabilities [k', 5]."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    values = np.array([int(rating) for rating in RATINGS], dtype=np.float32)
    ratings: Scores = (weights @ values) / weights.sum(axis=1)
    return ratings.astype(np.float32)
