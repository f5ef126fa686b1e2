"""Whether users fell on an experiment's arms as was wanted.

An experiment whose split is off is broken, whatever its effect: users of one arm were lost, or
counted twice. The check is Pearson's χ² test, at a strict level as it is looked at often: that many
looks together err in a few per cent of the experiments (docs/log/serving.md), and a split that is
off stays so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model_store.errors import InputError

LEVEL = 0.001
MIN_EXPECTED = 5
"""Users expected in each arm before the χ² distribution is near enough."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """The split of users.

    Attributes:
        noticed: the split isn't as wanted; its effect isn't to be trusted.
        p: probability of a split this far off if users fall on arms as wanted; None if untested.
        reason: one line for people.
    """

    noticed: bool
    p: float | None
    reason: str

    def to_document(self) -> dict[str, Any]:
        """The check in JSON's types."""
        return asdict(self)


def check_sample_ratio(users: Mapping[str, int], wanted: Mapping[str, float]) -> SampleRatio:
    """Check the split of users against the wanted one.

    Args:
        users: number of users by arm; an arm that is missing has none.
        wanted: weight of each arm, of any sum.

    Raises:
        InputError: an arm has no weight, or weights are negative, not finite or all zero.
    """
    total_weight = sum(wanted.values())
    if not (0 < total_weight < math.inf) or not all(weight >= 0 for weight in wanted.values()):
        raise InputError(f"weights of arms: {dict(wanted)} is no split")
    unknown = users.keys() - wanted.keys()
    if unknown:
        raise InputError(f"arm {min(unknown)!r} is not one of {sorted(wanted)}")
    total = sum(users.values())
    expected = {arm: total * weight / total_weight for arm, weight in wanted.items() if weight}
    split = _describe(users, expected)
    if any(n for arm, n in users.items() if arm not in expected):
        return SampleRatio(True, 0.0, f"users in an arm without weight: {split}")
    if len(expected) < 2:
        return SampleRatio(False, None, "there is one arm only")
    if min(expected.values()) < MIN_EXPECTED:
        return SampleRatio(False, None, f"too few users to tell: {split}")
    statistic = sum((users.get(arm, 0) - n) ** 2 / n for arm, n in expected.items())
    p = chi_square_p(statistic, len(expected) - 1)
    word = "not as wanted" if p < LEVEL else "as wanted"
    shown = "p < 0.001" if p < LEVEL else f"p = {p:.3f}"
    return SampleRatio(p < LEVEL, p, f"split {word}: {split}; {shown}")


def chi_square_p(statistic: float, degrees: int) -> float:
    """The probability of χ² of so many degrees of freedom at or above the statistic.

    For whole degrees the incomplete gamma function is a finite sum (NIST Digital Library of
    Mathematical Functions 8.4.10 and 8.8.9).
    """
    half = statistic / 2
    if not half:
        return 1.0
    if degrees % 2:
        p, powers = math.erfc(math.sqrt(half)), [i + 0.5 for i in range(degrees // 2)]
    else:
        p, powers = 0.0, [float(i) for i in range(degrees // 2)]
    logs = (power * math.log(half) - half - math.lgamma(power + 1) for power in powers)
    return min(1.0, p + sum(map(math.exp, logs)))


def _describe(users: Mapping[str, int], expected: Mapping[str, float]) -> str:
    """For example "a 5,012 of 5,000, b 4,988 of 5,000"."""
    arms = [f"{arm} {users.get(arm, 0):,} of {n:,.0f}" for arm, n in expected.items()]
    others = [f"{arm} {n:,} of 0" for arm, n in users.items() if n and arm not in expected]
    return ", ".join(arms + others)
