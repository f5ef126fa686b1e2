"""Answers whose first ranks are drawn at random, with known probabilities.

Of a request that is explored, the items are drawn by the softmax of their scores, one rank after
another: a Plackett-Luce ranking. `scoring` says which requests can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from app.deployment.buckets import N_BUCKETS, bucket_of
from app.model.arrays import FloatArray, IndexArray
from model_store.exposure_log import Exploration
from model_store.plackett_luce import draw, log_propensities

_SALT = "exploration"


@dataclass(frozen=True, slots=True)
class Explorer:
    """Which requests are explored, and how.

    Attributes:
        share: of the requests, by a hash of their ids; from 0 to 1.
        temperature: the scores are divided by it; above 0.
        n_ranks: how many of the first ranks are drawn; the others follow by score.
        n_candidates: how many of the best items are drawn from.
    """

    share: float
    temperature: float
    n_ranks: int
    n_candidates: int

    def draws_for(self, request_id: str) -> Draws | None:
        """How to draw a request's answer: the same one each time; None for most requests."""
        if bucket_of(request_id, _SALT) >= round(self.share * N_BUCKETS):
            return None
        digest = blake2b(request_id.encode("utf-8", "replace"), digest_size=16, key=_SALT.encode())
        return Draws(self, int.from_bytes(digest.digest(), "big"))


@dataclass(frozen=True, slots=True)
class Drawn:
    """The items of a drawn answer, in its order, their scores, and how they were drawn."""

    items: IndexArray
    scores: FloatArray
    exploration: Exploration


@dataclass(frozen=True, slots=True)
class Draws:
    """How one answer is drawn.

    Attributes:
        seed: of the random generator.
    """

    explorer: Explorer
    seed: int

    def draw(self, items: IndexArray, scores: FloatArray, k: int) -> Drawn:
        """k of the best items: the first ranks drawn, the others by score.

        Args:
            items: item_indices, best first.
            scores: of the items, float32.
            k: at least 1.
        """
        own = self.explorer
        logits = scores[: own.n_candidates].astype(np.float64) / own.temperature
        drawn = draw(logits, min(own.n_ranks, k), np.random.default_rng(self.seed))
        others = np.delete(np.arange(len(items)), drawn)[: k - len(drawn)]
        order = np.concatenate([drawn, others])
        propensities = tuple(log_propensities(logits, drawn).tolist())
        exploration = Exploration(own.temperature, own.n_candidates, propensities)
        return Drawn(items[order], scores[order], exploration)
