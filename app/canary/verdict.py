"""The verdict on a canary, with a reason that a person can read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from app.canary.bounds import Bounds
from app.canary.counts import Counts, total
from app.canary.findings import Finding, findings_of
from app.canary.outcomes import Outcomes
from model_store.errors import StoreError

Word: TypeAlias = Literal["waiting", "worse", "fine"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict.

    Attributes:
        word: `worse`: a bound is exceeded, and not at random. `fine`: enough answers, and every
            bound is shown to hold. `waiting`: neither is shown yet.
        reason: one line for people.
        findings: the figures, one for each criterion.
    """

    word: Word
    reason: str
    findings: tuple[Finding, ...]

    def to_document(self) -> dict[str, Any]:
        """The verdict in JSON's types."""
        return {
            "word": self.word,
            "reason": self.reason,
            "findings": [asdict(finding) for finding in self.findings],
        }


def judge_documents(documents: Iterable[bytes], bounds: Bounds) -> Verdict:
    """Judge by what all workers have counted, as the store has it.

    Counts that can't be read are left out; services log them.
    """
    counted = []
    for document in documents:
        with contextlib.suppress(StoreError):
            counted.append(Counts.from_json(document))
    summed = total(counted)
    return judge(summed.active, summed.canary, bounds)


def judge(active: Outcomes, canary: Outcomes, bounds: Bounds) -> Verdict:
    """Judge a canary by what it and the active version answered during the same minutes.

    It may be called as often as wanted: the tests hold at every look. Both must be counted from one
    moment, and the canary's percentage must not have changed since; otherwise minutes with many
    errors would weigh more in one version's counts than in the other's.
    """
    findings = tuple(findings_of(active, canary, bounds))
    worse = [finding for finding in findings if finding.state == "worse"]
    if worse:
        return Verdict("worse", "; ".join(map(_describe_excess, worse)), findings)
    if not canary.answers or not active.answers:
        name = "active version" if canary.answers else "canary"
        return Verdict("waiting", f"no answers of the {name} yet", findings)
    if canary.ready < bounds.min_answers:
        reason = f"{canary.ready:,} answers of the canary; {bounds.min_answers:,} are needed"
        if canary.unready:
            reason += f", and {canary.unready:,} came while its reranker was being loaded"
        return Verdict("waiting", reason, findings)
    still_open = [finding.criterion for finding in findings if finding.state == "open"]
    after = f"after {canary.ready:,} answers"
    if still_open:
        reason = f"not shown to be within bounds {after}: {', '.join(still_open)}"
        return Verdict("waiting", reason, findings)
    return Verdict("fine", f"shown to be within every bound {after}", findings)


def _describe_excess(finding: Finding) -> str:
    """As in "errors 4.1 % of 1,250 answers, active 0.2 % of 24,000; bound +1 point; p < 0.001"."""
    name, bound = str(finding.criterion), _points(finding.bound)
    show: Callable[[float], str] = _percent
    if finding.quantile is not None:
        name = f"latency p{100 * finding.quantile:.0f}"
        bound = f"{finding.bound:g} times as long"
        show = _milliseconds
    p = "p < 0.001" if finding.p < 0.001 else f"p = {finding.p:.3f}"
    return (
        f"{name} {show(finding.canary)} of {finding.canary_answers:,} answers,"
        f" active {show(finding.active)} of {finding.active_answers:,}; bound {bound}; {p}"
    )


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.01:
        return "under 0.01 %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def _points(share: float) -> str:
    points = f"{100 * share:g}"
    return f"+{points} point" if points == "1" else f"+{points} points"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{1e3 * seconds:,.0f} ms"
