"""How much worse than the active version a canary may be."""

from __future__ import annotations

from dataclasses import dataclass

from model_store.errors import ConfigError

CONCEDED = 0.01
"""A difference of rates that a few hundred answers can't tell: one point.

In 30 seconds a twentieth of 200 requests/s gives 300 answers. No valid test at the level of .003
then tells 5 % of errors from 1.1 % surely: even a single look at the end misses one canary of 15.
"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much worse than the active version a canary may be, and how sure a verdict must be.

    Attributes:
        errors: by how much the share of errors (5xx) may exceed the active version's; .01 is one
            point. A version that errs harms at once, so the bound is as low as can be told soon.
        empty: the same for answers without an item, which a user sees as a broken page.
        short: for answers with fewer items than asked for.
        degraded: for answers with something missing, which most users don't notice.
        popular: for answers by popularity. A version that lacks its users' histories, or knows no
            item in them, gives such answers to people whom the active version knows.
        slowdown: how many times as long the median and the 95th percentile of latency may be.
        slow_share: for `fine`, by how much the share of slow answers may exceed the active
            version's. Slow is more than `slowdown` times the active version's 95th percentile.
        min_answers: answers of the canary before it can be `fine`.
        alpha: probability, over all criteria and looks, that a canary which is no worse than the
            active version is called `worse`; and that one beyond a bound is called `fine`.
    """

    errors: float = 0.01
    empty: float = 0.01
    short: float = 0.02
    degraded: float = 0.05
    popular: float = 0.05
    slowdown: float = 1.5
    slow_share: float = 0.05
    min_answers: int = 500
    alpha: float = 0.01

    def __post_init__(self) -> None:
        for name in ("errors", "empty", "short", "degraded", "popular", "slow_share", "alpha"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ConfigError(f"{name}: {value} is not between 0 and 1")
        # Slower by less than a bucket of latencies and the test's own step can't be told.
        if not self.slowdown >= MIN_SLOWDOWN:
            raise ConfigError(f"slowdown: {self.slowdown} is less than {MIN_SLOWDOWN}")
        if self.min_answers < 1:
            raise ConfigError(f"min_answers: {self.min_answers} is less than 1")


MIN_SLOWDOWN = 1.25
