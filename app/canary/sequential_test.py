"""An always-valid test of whether one rate exceeds another by more than a tolerance.

Two versions answer during the same minutes: of the canary's n_c answers k_c are hits (errors, for
example), of the active version's n_a answers k_a. The canary's share of the answers is
w = n_c / (n_c + n_a). The evidence against "the canary's rate is at most the active version's" is
the mixture, over ratios r > 1, of

    E_r = λ_c^k_c · λ_a^k_a        λ_c = r / (1 + w (r - 1)),  λ_a = 1 / (1 + w (r - 1))

This is the likelihood ratio of the binomial test that a hit is the canary's: Lindon and Malek,
"Anytime-Valid Inference for Multinomial Count Data" (NeurIPS 2022), the part on time-inhomogeneous
Bernoulli processes. The version on which a hit falls tells of the ratio of the two rates; how
common hits are need not be known. So the rate itself costs no power, and it may change from minute
to minute (while the store is away, both versions err). Their prior on the ratio is a Dirichlet
distribution; here it is a few ratios on one side, which makes the test one-sided.

**Why it is valid.** Let both have the rate p. Then E[λ^hit] = 1 + p (λ - 1) for one answer, and the
geometric mean of the two such factors, weighted by w, is at most
1 + p (w λ_c + (1 - w) λ_a - 1) = 1. So at each look the expectation of E_r is at most 1, for any
rate and any counts. No normal approximation is involved, which would fail where few errors were
seen. If the canary's rate is lower, the expectation is lower too. While the canary's share stays
the same from look to look, E is a nonnegative supermartingale, and by Ville's inequality the
probability that it reaches 1/α at any look is at most α. A share drawn at random for each answer is
near enough: the tests simulate it, with a look after each answer.

**With a tolerance** δ, against "the canary's rate is at most δ above": each answer of the active
version has one more factor, c = λ_a / (δ + (1 - δ) λ_a). It makes the expectation of an answer's
factor, c (1 + p (λ_a - 1)), at most 1 + (p + δ) (λ_a - 1) for any p, and the argument holds as
before. Ratios below 1 make the test against "the canary's rate is at least δ above".
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Float64: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = int | npt.NDArray[np.int64]

# Of equal weight in the mixture. With more of them a ratio in between would be found a little
# sooner, and all others later, by log(number of ratios) of evidence. Doublings find a bad canary of
# any rate about as soon as eight ratios from 1.2 to 256 do, and 5 % of errors sooner.
RATIOS_ABOVE = np.array([2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
# Most answers may be by popularity; .95 tells then that they are not five points more.
RATIOS_BELOW = np.array([0.95, 0.9, 0.7, 0.5, 0.3, 0.15, 0.07])


class Hits(NamedTuple):
    """Hits among the answers of one version: two numbers, or two arrays of the same shape."""

    hits: Counts
    answers: Counts


def evidence_above(canary: Hits, active: Hits, tolerance: float = 0.0) -> Float64:
    """Logarithm of the evidence that the canary's rate exceeds the active one's by more than that.

    Args:
        canary: counts of any shape [...].
        active: counts over the same minutes, of the same shape.
        tolerance: difference of rates, 0 to 1.

    Returns:
        [...] natural logarithms; 1/E is a p-value that holds at every look.
    """
    return _evidence(canary, active, tolerance, RATIOS_ABOVE)


def evidence_below(canary: Hits, active: Hits, tolerance: float) -> Float64:
    """Logarithm of the evidence that the canary's rate exceeds it by less; otherwise as above."""
    return _evidence(canary, active, tolerance, RATIOS_BELOW)


def p_value(log_evidence: Float64 | float) -> float:
    """The always-valid p-value, 1/E but at most 1."""
    return float(np.exp(-max(float(log_evidence), 0.0)))


def mean_evidence(log_evidence: Float64) -> Float64:
    """Of several tests [..., n] of hypotheses that hold together: the logarithm of the mean [...].

    A mean of such E is one again, so nothing has to be corrected for the number of tests.
    """
    largest = log_evidence.max(axis=-1, keepdims=True)
    total = np.exp(log_evidence - largest).sum(axis=-1)
    mean: Float64 = np.log(total / log_evidence.shape[-1]) + largest[..., 0]
    return mean


def _evidence(canary: Hits, active: Hits, tolerance: float, ratios: Float64) -> Float64:
    k_c, n_c, k_a, n_a = (np.asarray(n)[..., np.newaxis] for n in (*canary, *active))
    share = n_c / np.maximum(n_c + n_a, 1)
    log_active = -np.log1p(share * (ratios - 1))
    log_evidence = k_c * (np.log(ratios) + log_active) + k_a * log_active
    if tolerance:
        factor = np.exp(log_active)
        log_evidence += n_a * (log_active - np.log(tolerance + (1 - tolerance) * factor))
    return mean_evidence(log_evidence)
