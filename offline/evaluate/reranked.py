"""Reranking as it is served: tail users are asked for again and again.

The first answer may come before the language model's, which is then in the cache for the next one.
Once every answer is `cached` or `fresh`, the figures are those of a service with unlimited time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from model_store.id_map import IdMap
from offline.data.split import Cases
from offline.evaluate.figures import tail_cases
from offline.evaluate.served import ServedFigures, evaluate_service
from offline.intervals import uncertainty_of
from offline.metrics import gains

UNFINISHED = ("pending", "timed_out", "skipped")
"""Outcomes of answers that may be reranked next time; `skipped` where too many jobs wait."""
_PAUSE_S = 5.0
# Passes without a newly finished answer, after which no more are waited for.
_MAX_IDLE_PASSES = 3


@dataclass(frozen=True)
class Pass:
    """One round of requests for all tail users."""

    name: str
    figures: ServedFigures

    @property
    def n_unfinished(self) -> int:
        """Answers that are not reranked."""
        return sum(self.figures.outcomes.get(outcome, 0) for outcome in UNFINISHED)

    def gain_over(self, base: Pass) -> tuple[float, float]:
        """The paired gain in NDCG@k over another pass, and the margin of its 95 % interval."""
        k = self.figures.k
        differences = gains(self.figures.ranks, k) - gains(base.figures.ranks, k)
        return float(differences.mean()), uncertainty_of(differences[None]).margin


def evaluate_reranked(
    url: str,
    cases: Cases,
    user_ids: list[str],
    item_ids: IdMap,
    *,
    rps: float | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> list[Pass]:
    """Passes over the tail users' cases: without reranking, the first, the second, and the last.

    Args:
        url: of the service.
        cases: of all users.
        user_ids, item_ids, rps: see `evaluate_service`.
        wait: pauses for seconds between passes.

    Raises:
        InputError: the service can't be reached, or answers a request with an error.
    """
    tail = cases.chosen(tail_cases(cases))

    def ask(name: str, rerank: str) -> Pass:
        return Pass(name, evaluate_service(url, tail, user_ids, item_ids, rerank=rerank, rps=rps))

    passes = [ask("never", "never"), ask("first", "auto"), ask("second", "auto")]
    last, n_idle = passes[-1], 0
    while last.n_unfinished and n_idle < _MAX_IDLE_PASSES:
        wait(_PAUSE_S)
        following = ask("last", "auto")
        n_idle = n_idle + 1 if following.n_unfinished >= last.n_unfinished else 0
        last = following
    if last is not passes[-1]:
        passes.append(last)
    return passes


def describe(passes: list[Pass]) -> str:
    """A table of the passes, gains paired with the first of them."""
    base = passes[0]
    users = f"{base.figures.n_cases} tail users (the fifth with the shortest histories)"
    lines = [
        f"{users}, versions that answered: {', '.join(base.figures.versions)}",
        f"{'pass':8}{'HR@10':>8}{'NDCG@10':>9}{'gain (95 % interval)':>30}  outcomes",
    ]
    for one in passes:
        gain, margin = one.gain_over(base)
        interval = f"{gain:+.4f} ({gain - margin:+.4f} to {gain + margin:+.4f})"
        outcomes = ", ".join(f"{name} {n}" for name, n in sorted(one.figures.outcomes.items()))
        figures = f"{one.figures.hit_rate:8.4f}{one.figures.ndcg:9.4f}"
        lines.append(f"{one.name:8}{figures}{interval if one is not base else '':>30}  {outcomes}")
    return "\n".join(lines)


def as_rows(passes: list[Pass]) -> list[dict[str, object]]:
    """The passes as JSON values."""
    rows: list[dict[str, object]] = []
    for one in passes:
        gain, margin = one.gain_over(passes[0])
        rows.append(
            {
                "pass": one.name,
                "hit_rate_at_10": one.figures.hit_rate,
                "ndcg_at_10": one.figures.ndcg,
                "gain": gain,
                "margin": margin,
                "outcomes": dict(one.figures.outcomes),
            }
        )
    return rows
