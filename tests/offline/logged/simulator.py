"""People with known tastes are shown rankings that one policy draws; what another gets is known.

A click at a rank depends on the items there and above it, on the kind of person and on how much a
person clicks at all. Some kinds ask more often. The truth is a sum over all rankings.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from offline.logged.click_model import fit_clicks
from offline.logged.estimates import Estimate, estimates_of
from offline.logged.explored import N_FOLDS, Explored, Float64, Int64
from offline.logged.target import follow

N_KINDS, N_ITEMS, N_RANKS = 6, 8, 3
BY_RANK = np.array([1.0, 0.7, 0.5])
TIRED = 0.8
"""What is liked above lowers the probability of a click below by this share of itself."""
REQUESTS = np.array([2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
"""Mean number of requests of a person of each kind."""


@dataclass(frozen=True)
class World:
    """Tastes, and two policies as logits [kinds, items + 1]; item 0 is none.

    Attributes:
        likes: probability of a click at the first rank, [kinds, items + 1].
        greedy: the policy in question always ranks by its logits.
    """

    likes: Float64
    logged: Float64
    target: Float64
    greedy: bool

    @classmethod
    def of(cls, seed: int = 1, *, greedy: bool = False) -> World:
        """Both policies know something of the tastes, the one in question more."""
        rng = np.random.default_rng(seed)
        taste = rng.normal(size=(N_KINDS, N_ITEMS + 1))
        logged = 0.4 * taste + 0.4 * rng.normal(size=taste.shape)
        target = 1.0 * taste + 0.4 * rng.normal(size=taste.shape)
        likes = 0.25 / (1 + np.exp(-2 * taste))
        logged[:, 0] = target[:, 0] = -np.inf
        likes[:, 0] = 0.0
        return cls(likes, logged, target, greedy)

    def truth(self) -> Float64:
        """Clicks per exposure of the policy in question on the first 1, 2 … ranks, [R]."""
        found = np.zeros((N_KINDS, N_RANKS))
        for kind in range(N_KINDS):
            for ranking in permutations(range(1, N_ITEMS + 1), N_RANKS):
                share = self._probability(kind, ranking)
                if share:
                    rows = np.full(1, kind), np.array([ranking])
                    found[kind] += share * self.click_probabilities(*rows)[0]
        mean: Float64 = (REQUESTS / REQUESTS.sum()) @ found
        return np.cumsum(mean)

    def _probability(self, kind: int, ranking: tuple[int, ...]) -> float:
        logits = self.target[kind]
        if self.greedy:
            return float(ranking == tuple(np.argsort(-logits)[:N_RANKS].tolist()))
        weights = np.exp(logits)
        share, left = 1.0, float(weights.sum())
        for item in ranking:
            share *= float(weights[item]) / left
            left -= float(weights[item])
        return share

    def click_probabilities(self, kinds: Int64, items: Int64) -> Float64:
        """Of an average person at each rank, [E, R]."""
        likes = self.likes[kinds[:, None], items]
        above = np.cumprod(1 - TIRED * likes, axis=1) / (1 - TIRED * likes)
        clicks: Float64 = likes * BY_RANK * above
        return clicks

    def log(self, n_users: int, seed: int) -> tuple[Explored, Int64]:
        """What some people were shown and clicked, and their kinds."""
        rng = np.random.default_rng(seed)
        kinds_of = rng.integers(0, N_KINDS, n_users)
        requests = rng.poisson(REQUESTS[kinds_of])
        users = np.repeat(np.arange(n_users), requests)
        kinds = kinds_of[users]
        noisy = self.logged[kinds] + rng.gumbel(size=(len(kinds), N_ITEMS + 1))
        items = np.argsort(-noisy, axis=1)[:, :N_RANKS]
        eager = rng.uniform(0.2, 1.8, n_users)
        probabilities = eager[users, None] * self.click_probabilities(kinds, items)
        clicks = (rng.random(items.shape) < probabilities).astype(np.float64)
        ones = np.ones((len(kinds), N_ITEMS + 1))
        logged = follow(self.logged[kinds], items, ones, greedy=False).log_probabilities
        drawn = np.full(len(kinds), N_RANKS)
        explored = Explored(
            user_ids=[f"u{user}" for user in users.tolist()],
            users=users,
            folds=users % N_FOLDS,
            at_s=np.zeros(len(kinds)),
            items=items,
            clicks=clicks,
            log_propensities=logged,
            n_drawn=drawn,
            n_shown=drawn,
            n_candidates=np.full(len(kinds), N_ITEMS),
        )
        return explored, kinds

    def estimate(self, n_users: int, seed: int) -> list[Estimate]:
        """What is told about the policy in question from the log of some people."""
        explored, kinds = self.log(n_users, seed)
        clicks = fit_clicks(explored, N_ITEMS)
        multipliers = clicks.multipliers[explored.folds]
        behaviour = follow(
            self.target[kinds].copy(), explored.items, multipliers, greedy=self.greedy
        )
        return estimates_of(explored, behaviour, clicks)


def held(world: World, n_runs: int, n_users: int, first_seed: int = 0) -> dict[str, float]:
    """The share of runs in which each interval holds the truth, by estimator and ranks.

    Of those runs in which it is told; their share is `told`.
    """
    truth = world.truth()
    counts: dict[str, list[bool]] = {}
    for seed in range(first_seed, first_seed + n_runs):
        for estimate in world.estimate(n_users, seed):
            value = truth[estimate.n_ranks - 1]
            counts.setdefault(f"told {estimate.n_ranks}", []).append(estimate.values is not None)
            if estimate.values is None:
                continue
            for name in ("ips", "snips", "dr"):
                ratio = getattr(estimate.values, name)
                inside = bool(ratio.low <= value <= ratio.high)
                counts.setdefault(f"{name} {estimate.n_ranks}", []).append(inside)
    return {name: float(np.mean(found)) for name, found in counts.items()}
