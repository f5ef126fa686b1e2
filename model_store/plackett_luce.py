"""Rankings drawn at random with known probabilities: the Plackett-Luce model.

The item at each rank is drawn by a softmax of the logits of those that are left,

    P(a_1 … a_n) = ∏ exp(l(a_r)) / Σ over items not among a_1 … a_(r-1) of exp(l(a)).

One draw of all ranks: the largest of the logits with independent Gumbel noise added to each (Kool,
van Hoof and Welling, "Stochastic Beams and Where to Find Them", ICML 2019, section 2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


def draw(logits: Logits, n: int, generator: np.random.Generator) -> Positions:
    """Positions of the first n items of a ranking, int64 [min(n, M)], the first rank first.

    Args:
        logits: [M], finite: scores divided by a temperature.
        n: at least 0.
        generator: of the noise; the same state draws the same ranking.
    """
    noisy = logits + generator.gumbel(size=len(logits))
    drawn: Positions = np.argsort(-noisy, kind="stable")[:n]
    return drawn


def log_propensities(logits: Logits, ranked: Positions) -> Logits:
    """The log-probability of the item at each rank, given those above it, [R].

    Args:
        logits: [M], finite.
        ranked: distinct positions, the first rank first, [R].
    """
    left = logits.astype(np.float64)
    found = np.empty(len(ranked))
    for rank, position in enumerate(ranked.tolist()):
        top = left.max()
        found[rank] = left[position] - top - np.log(np.exp(left - top).sum())
        left[position] = -np.inf
    return np.minimum(found, 0.0)
