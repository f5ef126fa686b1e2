"""The effect of an arm on clicks per exposure, with its interval.

Users are assigned to arms, so users are independent of each other. Exposures are not: some people
click much more often than others. Clicks per exposure, R = Σ y / Σ x over users, is a ratio of two
means over users. Its variance is, by the delta method (Deng, Knoblich and Lu, "Applying the Delta
Method in Metric Analytics", KDD 2018, section 3),

    var(R) = n / (n - 1) · Σ (y - R x)² / (Σ x)²

Intervals are Welch's: variances of the arms may differ, and Student's distribution allows for few
users. They hold for one look at a time fixed beforehand, not for a stop as soon as one leaves 0.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from app.experiments.moments import Moments
from app.experiments.student import margin, two_sided_p

CONFIDENCE = 0.95
MIN_CLICKS = 10
"""Of an arm, for an interval. Before, most samples have too few clicks and with them too little
variance: of a twentieth of the users and half a click expected, 59 % of the intervals of no effect
left 0, as an arm without a click seems to know its rate exactly."""


@dataclass(frozen=True, slots=True)
class Effect:
    """The difference of an arm to the control arm. What can't be told is None.

    Attributes:
        rate: clicks per exposure.
        control_rate: those of the control arm.
        difference: rate - control_rate.
        low: lower end of its interval.
        high: upper end of its interval.
        relative: difference / control_rate; .1 is ten percent more.
        relative_low: lower end of its interval.
        relative_high: upper end of its interval.
        p: probability of a difference this large, either way, if there were none.
        unknown: why there is no interval; None where there is one.
    """

    rate: float | None = None
    control_rate: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    p: float | None = None
    unknown: str | None = None

    def to_document(self) -> dict[str, float | str | None]:
        """The effect in JSON's types; there are no NaN and no infinities."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ClickRate:
    """Clicks per exposure with their interval; what can't be told is None."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


def rate_of(arm: Moments, confidence: float = CONFIDENCE) -> ClickRate:
    """Clicks per exposure, with the interval between users: Student's, with n - 1 degrees.

    There is none of fewer than two users or MIN_CLICKS clicks, or where all have the same ratio.
    The lower end is at least 0.
    """
    value = _rate(arm)
    is_little = arm.users < 2 or arm.clicks < MIN_CLICKS
    if value is None or is_little or not _squared_deviations(arm):
        return ClickRate(value)
    half = margin(confidence, arm.users - 1) * math.sqrt(_variance(arm))
    return ClickRate(value, max(value - half, 0.0), value + half)


def effect_of(arm: Moments, control: Moments, confidence: float = CONFIDENCE) -> Effect:
    """The effect of an arm, compared with the control arm.

    Args:
        arm: of the arm, over the same time as those of the control arm.
        control: of the control arm.
        confidence: probability with which an interval holds the truth, between 0 and 1.
    """
    rate, control_rate = _rate(arm), _rate(control)
    if rate is None or control_rate is None:
        name = "arm" if rate is None else "control arm"
        return Effect(rate, control_rate, unknown=f"no exposures in the {name}")
    difference = rate - control_rate
    relative = difference / control_rate if control_rate else None
    unknown = _why_no_interval(arm, control)
    if unknown:
        return Effect(rate, control_rate, difference, relative=relative, unknown=unknown)
    variances = _variance(arm), _variance(control)
    error, degrees = _welch(variances, (arm.users, control.users))
    half = margin(confidence, degrees) * error
    interval = difference - half, difference + half
    relative_interval = _relative_interval((arm, control), variances, confidence)
    p = two_sided_p(difference / error, degrees)
    return Effect(rate, control_rate, difference, *interval, relative, *relative_interval, p)


def _rate(arm: Moments) -> float | None:
    return arm.clicks / arm.exposures if arm.exposures else None


def _why_no_interval(arm: Moments, control: Moments) -> str | None:
    both = ((arm, "arm"), (control, "control arm"))
    for moments, name in both:
        if moments.users < 2:
            return f"fewer than two users in the {name}"
    if not _squared_deviations(arm) and not _squared_deviations(control):
        return "clicks per exposure are the same for all users of an arm"
    for moments, name in both:
        if moments.clicks < MIN_CLICKS:
            return f"fewer than {MIN_CLICKS} clicks in the {name}"
    return None


def _squared_deviations(arm: Moments) -> int:
    """Σ (y - R x)² · (Σ x)²: whole numbers, so that nothing is lost where little is left."""
    x, y = arm.exposures, arm.clicks
    return x * x * arm.clicks_squared - 2 * x * y * arm.products + y * y * arm.exposures_squared


def _variance(arm: Moments) -> float:
    """Of clicks per exposure."""
    return arm.users * _squared_deviations(arm) / ((arm.users - 1) * arm.exposures**4)


def _welch(variances: tuple[float, float], users: tuple[int, int]) -> tuple[float, float]:
    """Standard error of a difference, and degrees of freedom by Welch and Satterthwaite."""
    total = sum(variances)
    parts = (
        (variance / total) ** 2 / (n - 1) for variance, n in zip(variances, users, strict=True)
    )
    return math.sqrt(total), 1 / sum(parts)


def _relative_interval(
    arms: tuple[Moments, Moments], variances: tuple[float, float], confidence: float
) -> tuple[float | None, float | None]:
    """By the logarithm of the ratio, so that it never falls below -1."""
    rates = [arm.clicks / arm.exposures for arm in arms]
    of_logs = [variance / rate**2 for variance, rate in zip(variances, rates, strict=True)]
    error, degrees = _welch((of_logs[0], of_logs[1]), (arms[0].users, arms[1].users))
    log_ratio, half = math.log(rates[0] / rates[1]), margin(confidence, degrees) * error
    try:
        return math.expm1(log_ratio - half), math.expm1(log_ratio + half)
    except OverflowError:  # a ratio of hardly any clicks
        return None, None
