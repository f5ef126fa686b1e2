"""Student's t distribution. The service doesn't depend on scipy, which has it."""

from __future__ import annotations

import math
from statistics import NormalDist

MAX_STEPS = 10_000


def two_sided_p(t: float, degrees: float) -> float:
    """The probability of a value as far from 0 as t, or further; `degrees` of freedom above 0."""
    return _incomplete_beta(
        degrees / 2, 0.5, degrees / (degrees + t * t), t * t / (degrees + t * t)
    )


def margin(confidence: float, degrees: float) -> float:
    """The t within which a share of values, `confidence`, lies on both sides of 0."""
    p = 1 - confidence
    # The probability falls and is convex in t, and the normal quantile is below t: Newton's steps
    # come near from below, and never go beyond.
    t = NormalDist().inv_cdf(1 - p / 2)
    for _ in range(MAX_STEPS):
        step = (two_sided_p(t, degrees) - p) / (2 * _density(t, degrees))
        t += step
        if step < 1e-12 * t:
            return t
    raise ArithmeticError(f"no quantile of {degrees} degrees of freedom was found")


def _density(t: float, degrees: float) -> float:
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    log_shape = (degrees + 1) / 2 * math.log1p(t * t / degrees)
    return math.exp(log_scale - log_shape) / math.sqrt(degrees * math.pi)


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """The regularised incomplete beta function I_x(a, b); y is 1 - x, without cancellation."""
    if x == 0 or y == 0:
        return float(y == 0)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly
        return 1 - _incomplete_beta(b, a, y, x)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log(y) - log_beta) / a
    return front * _continued_fraction(a, b, x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """NIST Digital Library of Mathematical Functions 8.17.22, by Lentz's method."""
    numerator, denominator = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = denominator
    for m in range(1, MAX_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for term in (even, odd):
            denominator = 1 / (1 + term * denominator)
            numerator = 1 + term / numerator
            value *= denominator * numerator
        if abs(value - before) < 1e-15 * abs(value):
            return value
    raise ArithmeticError(f"the incomplete beta function of {a}, {b} at {x} did not converge")
