"""What the generator's staleness costs: how far alignment gets with snapshots every so many steps.

The toy's answers can all be listed, so that the objective of equation 8 (expected reward less the
KL penalty) is a sum, and so is the best that any policy reaches: α log Σ p_orig(s) exp(R(s)/α).
Run `python -m tests.offline.alignment.staleness`; it prints a line for each setting.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from offline.alignment.config import AlignmentConfig
from offline.alignment.estimator import weigh
from offline.alignment.experience import SampledText
from offline.alignment.policy import Policy
from offline.alignment.policy_update import PolicyUpdate
from tests.offline.alignment.toy import (
    PROMPT,
    ToyPrompts,
    all_answers,
    experience,
    make_policy,
    texts_of,
)

TEXTS_PER_STEP = 4
REWARD_DEVIATION = 0.3
NOISE = 0.5  # of an example, which says nothing of the text
LOOK_EVERY = 100
# Steps between snapshots, and the importance correction. With a snapshot at each step no text is
# stale, and the correction changes nothing.
SETTINGS = ((1, True), (50, True), (3_000, True), (50, False), (3_000, False))


@dataclass(frozen=True)
class World:
    """The answers with the reward of each, and the policy before alignment."""

    answers: list[np.ndarray]
    rewards: np.ndarray
    original: np.ndarray
    alpha: float

    @property
    def best(self) -> float:
        """The objective's largest value over all policies."""
        weighted = self.original * np.exp(self.rewards / self.alpha)
        return float(self.alpha * np.log(weighted.sum()))

    def objective(self, policy: Policy) -> float:
        """Expected reward less α times the KL divergence from the original policy."""
        p = probabilities(policy, self.answers)
        return float((p * (self.rewards - self.alpha * np.log(p / self.original))).sum())


def probabilities(policy: Policy, answers: list[np.ndarray]) -> np.ndarray:
    """p(s) of each answer, float64."""
    with torch.no_grad():
        log_ps = policy.log_p([PROMPT] * len(answers), answers)
    return np.exp([float(log_p.sum()) for log_p in log_ps])


def align(config: AlignmentConfig, steps: int, seed: int) -> Iterator[float]:
    """The share of what can be gained that is gained, at every look."""
    rng = np.random.default_rng(seed)
    policy = make_policy(seed=seed)
    answers = all_answers()
    rewards = np.exp(rng.normal(0.0, REWARD_DEVIATION, len(answers)))
    world = World(answers, rewards, probabilities(policy, answers), config.kl_coefficient)
    before = world.objective(policy)
    update = PolicyUpdate(policy, ToyPrompts(), config)  # type: ignore[arg-type]
    snapshot: list[SampledText] = []
    for step in range(steps):
        if step % config.refresh_every == 0:
            snapshot = texts_of(policy, answers)
            p = np.exp([text.log_sampled.sum() for text in snapshot])
        drawn = rng.choice(len(answers), TEXTS_PER_STEP, p=p / p.sum())
        noise = rng.normal(0.0, NOISE)
        batch = [
            # A text that is drawn twice is two texts.
            experience(_copy(snapshot[one]), float(np.log(rewards[one])) + noise, 0.0)
            for one in drawn
        ]
        update.step(weigh(batch, config), stale=step % config.refresh_every > 0)
        if (step + 1) % LOOK_EVERY == 0:
            yield (world.objective(policy) - before) / (world.best - before)


def _copy(text: SampledText) -> SampledText:
    return SampledText(text.item, text.text, text.tokens, text.log_sampled, text.log_original)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for refresh_every, corrects in SETTINGS:
        config = AlignmentConfig(
            mode="asynchronous",
            refresh_every=refresh_every,
            importance_correction=corrects,
            learning_rate=arguments.learning_rate,
        )
        gains = np.array(
            [[*align(config, arguments.steps, seed)] for seed in range(arguments.seeds)]
        )
        shown = " ".join(f"{gain:+.2f}" for gain in gains[:, -1])
        print(
            f"refresh every {refresh_every:5}, importance correction {corrects!s:5}: "
            f"gained at the end {gains[:, -1].mean():+.3f} ({shown}), "
            f"in the mean over all looks {gains.mean():+.3f}, least {gains.min():+.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
