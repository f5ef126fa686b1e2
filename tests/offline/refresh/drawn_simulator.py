"""People with known tastes get drawn answers; what either of two models is worth is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from offline.data.histories import Histories
from offline.logged.explored import N_FOLDS, Explored, Float64
from offline.logged.places import Float32, K, Places, Score, rank_places
from offline.logged.target import follow
from offline.metrics import gains
from offline.refresh.non_inferiority import Judgement, judge

N_KINDS, N_ITEMS, N_PLACES, N_CANDIDATES = 30, 60, 3, 40
ATTENTION = 1 / np.log2(np.arange(2.0, N_PLACES + 2))


@dataclass(frozen=True)
class World:
    """Kinds of people, and what two models think of them.

    Attributes:
        likes: probability of a click at the first rank, [kinds, items + 1]; item 0 is none.
        running, candidate: scores of the models, [kinds, items + 1].
        eager: how much more or less than others a person clicks, from 1 - eager to 1 + eager.
    """

    likes: Float64
    running: Float64
    candidate: Float64
    eager: float = 0.6

    @classmethod
    def of(cls, knows: float, seed: int = 0) -> World:
        """Both models see the tastes through noise, most of which they share.

        Args:
            knows: weight of the tastes in the new model's scores; in the running one's it is .6.
            seed: of the world.
        """
        rng = np.random.default_rng(seed)
        taste, shared, *noise = rng.normal(size=(4, N_KINDS, N_ITEMS + 1))
        running, candidate = (
            1.2 * (weight * taste + np.sqrt(1 - weight**2) * (0.85 * shared + 0.53 * own))
            for weight, own in zip((0.6, knows), noise, strict=True)
        )
        likes = 0.6 / (1 + np.exp(2.0 - 1.5 * taste))
        likes[:, 0] = 0.0
        return cls(likes, running, candidate)

    @cached_property
    def truth(self) -> tuple[float, float]:
        """Clicks at a drawn place by the new model and by the running one.

        The mean over many answers of what is expected, without a draw of clicks.
        """
        kinds, items, _ = self._answers(20_000, np.random.default_rng(99))
        shares = 1 / np.log2(np.arange(2.0, K + 2))
        rows, sums = np.arange(len(kinds)), np.zeros(2)
        for model, scores in enumerate((self.candidate, self.running)):
            left = np.where(np.arange(N_ITEMS + 1) > 0, scores, -np.inf)[kinds]
            for place in range(N_PLACES):
                best = np.argsort(-left, axis=1)[:, :K]
                expected = self.likes[kinds[:, None], best] @ shares / shares.sum()
                sums[model] += expected.mean() * ATTENTION[place]
                left[rows, items[:, place]] = -np.inf
        candidate, running = sums / N_PLACES
        return float(candidate), float(running)

    def places(self, n_answers: int, seed: int) -> Places:
        """What a log of some answers has, a user each."""
        explored, kinds = self.log(n_answers, seed)
        of_kind = [np.empty(0, np.int32)] * n_answers
        # The models are asked in the order of the answers.
        scores = {"candidate": self.candidate, "running": self.running}
        asked = {name: in_turn(one[kinds].astype(np.float32)) for name, one in scores.items()}
        return rank_places(explored, of_kind, asked["candidate"], asked["running"])

    def log(self, n_answers: int, seed: int) -> tuple[Explored, np.ndarray]:
        """Drawn answers with clicks, and the kinds of their users."""
        rng = np.random.default_rng(seed)
        kinds, items, logs = self._answers(n_answers, rng)
        eager = rng.uniform(1 - self.eager, 1 + self.eager, n_answers)
        likes = self.likes[kinds[:, None], items] * ATTENTION * eager[:, None]
        users = np.arange(n_answers)
        drawn = np.full(n_answers, N_PLACES)
        explored = Explored(
            user_ids=[f"u{user}" for user in users.tolist()],
            users=users,
            folds=users % N_FOLDS,
            at_s=np.zeros(n_answers),
            items=items,
            clicks=(rng.random(items.shape) < likes).astype(np.float64),
            log_propensities=logs,
            n_drawn=drawn,
            n_shown=drawn,
            n_candidates=np.full(n_answers, N_CANDIDATES),
        )
        return explored, kinds

    def judge_clicks(self, n_answers: int, seed: int, margin: float) -> Judgement:
        """The test on what people clicked, as if nobody had chosen what they were shown."""
        explored, kinds = self.log(n_answers, seed)
        answers, places = np.nonzero(explored.clicks)
        targets = explored.items[answers, places]
        figures = []
        for scores in (self.candidate, self.running):
            own = scores[kinds[answers], 1:]
            ranks = (own >= scores[kinds[answers], targets][:, None]).sum(axis=1)
            figures.append(gains(ranks, K))
        return judge(answers, *figures, margin=margin, confidence=0.95)

    def _answers(
        self, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Kinds of users, the items they are shown, and the log-probabilities of these."""
        kinds = rng.integers(0, N_KINDS, n)
        logits = self.running.astype(np.float32).astype(np.float64)
        logits[:, 0] = -np.inf
        # As the service does: of the best items alone.
        others = np.argsort(-logits, axis=1, kind="stable")[:, N_CANDIDATES:]
        np.put_along_axis(logits, others, -np.inf, axis=1)
        noisy = logits[kinds] + rng.gumbel(size=(n, N_ITEMS + 1))
        items = np.argsort(-noisy, axis=1)[:, :N_PLACES]
        ones = np.ones((n, N_ITEMS + 1))
        logs = follow(logits[kinds], items, ones, greedy=False).log_probabilities
        return kinds, items, logs


def in_turn(rows: np.ndarray) -> Score:
    """A model that answers with rows of scores, one after another."""
    left = iter(np.split(rows, range(1, len(rows))))

    def score(histories: Histories) -> Float32:
        return np.concatenate([next(left) for _ in histories])

    return score
