"""Weights of texts from rewards: the estimator of equation 6, and what lowers its variance.

Equation 6 is a mean over texts s of p(y|x,s)/p(y|x) times the gradient of log p(s|x). A number that
does not depend on s may be subtracted from the weight: the gradient's mean stays, as the gradient
of log p(s|x) has mean 0, and its variance falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.alignment.config import AlignmentConfig
from offline.alignment.experience import Experience, SampledText

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_SMALLEST_DEVIATION = 1e-8


@dataclass(frozen=True)
class Draw:
    """The weight of texts that were read together.

    Attributes:
        texts: s, one text for each of the items concerned.
        reward: p(y|x,s)/p(y|x), clipped; the mean over the examples that were read with s.
        weight: of the gradient of log p(s|x), before any importance ratio.
    """

    texts: tuple[SampledText, ...]
    reward: float
    weight: float


def weigh(experiences: Sequence[Experience], config: AlignmentConfig) -> list[Draw]:
    """A weight for each different s of each group, in the order in which they come."""
    rewards: dict[tuple[int, tuple[int, ...]], list[float]] = {}
    texts: dict[tuple[int, tuple[int, ...]], tuple[SampledText, ...]] = {}
    for experience, reward in zip(experiences, _rewards(experiences, config), strict=True):
        key = experience.group, tuple(map(id, experience.texts))
        rewards.setdefault(key, []).append(reward)
        texts[key] = experience.texts
    means = np.array([np.mean(rewards[key]) for key in texts])
    groups = np.array([group for group, _ in texts], dtype=np.int64)
    weights = advantages(means, groups, config)
    return [
        Draw(of_key, float(mean), float(weight))
        for of_key, mean, weight in zip(texts.values(), means, weights, strict=True)
    ]


def advantages(rewards: Float64, groups: Int64, config: AlignmentConfig) -> Float64:
    """Rewards less their baseline, divided by their group's deviation where this is asked for.

    Args:
        rewards: float64 [S], one for each s.
        groups: int64 [S].
        config: baseline and normalisation.

    Returns:
        float64 [S]. A text that is alone in its group has nothing to be compared with: where there
        is a baseline its weight is 0.
    """
    weights = rewards.copy()
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if config.baseline == "group":
            weights[rows] = _against_the_others(rewards[rows])
        if config.normalise:
            weights[rows] /= rewards[rows].std() + _SMALLEST_DEVIATION
    return weights


def importance_ratio(log_now: float, log_sampled: float, clip: float) -> float:
    """p_now(s) / p_sampled(s), at most `clip` (truncated importance sampling: Ionides, 2008)."""
    return float(np.exp(min(log_now - log_sampled, np.log(clip))))


def kl_to_go(log_original: npt.NDArray[np.floating], log_now: npt.NDArray[np.floating]) -> Float64:
    """What eq. 7 adds to each token's weight: log p_orig - log p_align, summed from it to the end.

    The mean over texts of these weights times the gradients of the tokens' log p is the gradient
    of L_KL. A token has no influence on those before it, so theirs are left out.

    Args:
        log_original: of each token under the LLM before alignment, [T].
        log_now: under the LLM as it is, [T].

    Returns:
        float64 [T].
    """
    differences = log_original.astype(np.float64) - log_now.astype(np.float64)
    return np.cumsum(differences[::-1])[::-1]


def _rewards(experiences: Sequence[Experience], config: AlignmentConfig) -> list[float]:
    ratios = [np.exp(experience.log_with - experience.log_without) for experience in experiences]
    limit = config.reward_clip or np.inf
    return [float(min(ratio, limit)) for ratio in ratios]


def _against_the_others(rewards: Float64) -> Float64:
    """Each reward less the mean of the others."""
    if len(rewards) == 1:
        return np.zeros(1)
    others = (rewards.sum() - rewards) / (len(rewards) - 1)
    against: Float64 = rewards - others
    return against
