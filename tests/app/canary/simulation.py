"""Simulated canaries, good and bad. `python -m tests.app.canary.simulation` prints the figures.

The canary answers a twentieth of the requests; the active version has .1 % of errors. Times of
answers are lognormal with a median of 2 ms. The verdict is asked for every second.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy import stats

from app.canary.bounds import Bounds
from app.canary.findings import OF_READY, QUANTILES, RATES
from app.canary.outcomes import COUNTS, EDGES_S, Outcomes
from app.canary.sequential_test import Hits, evidence_above, evidence_below
from app.canary.verdict import Word, judge

REQUESTS_PER_S = 200
CANARY_SHARE = 0.05
MEDIAN_S = 0.002
LOG_DEVIATION = 0.5

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rates:
    """How a version answers."""

    errors: float = 0.001
    empty: float = 0.0
    short: float = 0.0
    degraded: float = 0.0
    popular: float = 0.0
    slowdown: float = 1.0


ACTIVE = Rates()
BAD = {
    "slow": Rates(slowdown=2.0),
    "erring": Rates(errors=0.05),
    "empty": Rates(empty=0.05),
    "degraded": Rates(degraded=0.2),
    "popular": Rates(popular=0.2),
}
WITHIN_BOUNDS = {
    "errors .5 %": Rates(errors=0.005),
    "degraded 3 %": Rates(degraded=0.03),
    "a quarter slower": Rates(slowdown=1.25),
    "popular 3 %": Rates(popular=0.03),
}


@dataclass(frozen=True)
class Counted:
    """The answers of one version by each second: [runs, seconds], latencies [.., N_BUCKETS]."""

    answers: Ints
    errors: Ints
    empty: Ints
    short: Ints
    degraded: Ints
    popular: Ints
    latencies: Ints
    unready: Ints

    def outcomes(self, run: int, second: int) -> Outcomes:
        return Outcomes(
            **{name: int(getattr(self, name)[run, second]) for name in COUNTS},
            latencies=self.latencies[run, second].tolist(),
        )


def simulate(
    random: np.random.Generator, rates: Rates, per_s: float, runs: int, seconds: int
) -> Counted:
    answers = random.poisson(per_s, (runs, seconds))
    errors = random.binomial(answers, rates.errors)
    timed = answers - errors
    within = stats.lognorm.cdf(EDGES_S, LOG_DEVIATION, scale=MEDIAN_S * rates.slowdown)
    parts = {
        "answers": answers,
        "errors": errors,
        **{name: random.binomial(timed, getattr(rates, name)) for name in RATES[1:]},
        "latencies": random.multinomial(timed, np.diff(within, prepend=0.0, append=1.0)),
        "unready": np.zeros_like(answers),
    }
    return Counted(**{field.name: parts[field.name].cumsum(axis=1) for field in fields(Counted)})


def may_be_worse(active: Counted, canary: Counted, bounds: Bounds) -> npt.NDArray[np.bool_]:
    """[runs, seconds]: looks at which a bound is exceeded; no other can have the verdict `worse`.

    Of latency: a quantile would be beyond the bound if it were at the upper edge of its bucket, and
    the active version's at the lower edge of its own.
    """
    exceeded = np.zeros(canary.answers.shape, dtype=bool)
    for name in RATES:
        shares = []
        for one in (canary, active):
            counted = one.answers - one.unready if name in OF_READY else one.answers
            shares.append(getattr(one, name) / np.maximum(counted, 1))
        exceeded |= shares[0] - shares[1] > getattr(bounds, name)
    edges = np.array([0.0, *EDGES_S, EDGES_S[-1]])
    within = [one.latencies.cumsum(axis=2) for one in (canary, active)]
    for quantile in QUANTILES:
        buckets = [(w < quantile * w[..., -1:]).sum(axis=2) for w in within]
        exceeded |= edges[buckets[0] + 1] > bounds.slowdown * edges[buckets[1]]
    return exceeded


def streams(
    rates: tuple[float, float], share: float, shape: tuple[int, int], seed: int
) -> tuple[Hits, Hits]:
    """Counts [runs, answers] of a canary and of the active version after each answer.

    Args:
        rates: of hits, of the canary and of the active version.
        share: the canary's, of the answers.
        shape: runs and answers.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    is_canary = random.random(shape) < share
    hit = random.random(shape) < np.where(is_canary, *rates)
    canary = Hits((hit & is_canary).cumsum(1), is_canary.cumsum(1))
    return canary, Hits((hit & ~is_canary).cumsum(1), (~is_canary).cumsum(1))


@dataclass(frozen=True)
class Run:
    """The second of the first verdict of each kind; None where there was none."""

    worse: int | None
    fine: int | None


def judge_runs(
    rates: Rates,
    *,
    runs: int,
    seconds: int,
    seed: int,
    fine_every: int = 1,
    per_s: float = REQUESTS_PER_S,
) -> list[Run]:
    """Runs until `worse` or their end; whether one is `fine` is asked every so many seconds.

    Args:
        rates: of the canary.
        runs: of a canary each.
        seconds: that a run takes at most.
        seed: of the random numbers.
        fine_every: seconds.
        per_s: requests a second, to both versions together.
    """
    random = np.random.default_rng(seed)
    bounds = Bounds()
    canary = simulate(random, rates, per_s * CANARY_SHARE, runs, seconds)
    active = simulate(random, ACTIVE, per_s * (1 - CANARY_SHARE), runs, seconds)
    asked = may_be_worse(active, canary, bounds)
    found = []
    for run in range(runs):
        first: dict[Word, int] = {}
        for second in range(seconds):
            if asked[run, second] or ("fine" not in first and (second + 1) % fine_every == 0):
                verdict = judge(active.outcomes(run, second), canary.outcomes(run, second), bounds)
                first.setdefault(verdict.word, second + 1)
                if verdict.word == "worse":
                    break
        found.append(Run(first.get("worse"), first.get("fine")))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rate", type=float, default=REQUESTS_PER_S, help="requests/s")
    arguments = parser.parse_args()
    runs: int = arguments.runs
    for name, rates in (BAD | WITHIN_BOUNDS | {"like the active one": ACTIVE}).items():
        found: list[Run] = []
        while len(found) < runs:  # some at once, as ten minutes of all take much memory
            found += judge_runs(
                rates,
                runs=100,
                seconds=600,
                seed=len(found),
                fine_every=5,
                per_s=arguments.rate,
            )
        print(f"{name:20} {_describe(found, 'worse')}  {_describe(found, 'fine')}", flush=True)
    print("Share of runs of 20,000 answers in which the test at .05 raises a false alarm:")
    for rate in (0.001, 0.01, 0.1):
        for share in (0.05, 0.5):
            print(f"rate {rate:5} share {share:4}", *_false_alarms(rate, share, runs), flush=True)


def _false_alarms(rate: float, share: float, runs: int) -> list[float]:
    """Looking after each answer: above; above with a tolerance of a point; below with the same."""
    alarms = np.zeros(3)
    for seed in range(runs // 50):
        equal = streams((rate, rate), share, (50, 20_000), seed)
        higher = streams((rate + 0.01, rate), share, (50, 20_000), seed)
        evidence = (
            evidence_above(*equal),
            evidence_above(*higher, 0.01),
            evidence_below(*higher, 0.01),
        )
        alarms += [(one >= np.log(20)).any(axis=1).sum() for one in evidence]
    return (alarms / (runs // 50 * 50)).tolist()


def _describe(runs: list[Run], word: str) -> str:
    seconds = [getattr(run, word) for run in runs if getattr(run, word) is not None]
    if not seconds:
        return f"{word}: none of {len(runs)}"
    quantiles = "/".join(f"{second:.0f}" for second in np.quantile(seconds, [0.5, 0.95, 1.0]))
    return f"{word}: {len(seconds)} of {len(runs)} after {quantiles} s (median/95 %/last)"


if __name__ == "__main__":
    main()
