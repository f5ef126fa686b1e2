"""Reasons to doubt a model, from its report: said at the end of a build, and when it is published.

A bundle's report may be of an earlier release, or of another program: what it lacks is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTABLE_REPEATS = 0.02
"""Share of the test targets that stand in their history, from which a warning says so."""


def warnings_about(report: Mapping[str, Any]) -> list[str]:
    """The weaknesses of a report's model, and a line about repeats where there are many.

    Args:
        report: the content of report.json.
    """
    warnings = weaknesses(report)
    repeats = share_of_repeats(report)
    if repeats >= NOTABLE_REPEATS:
        warnings.append(f"{describe_repeats(repeats)}; --repeats runs or first collapses them")
    return warnings


def share_of_repeats(report: Mapping[str, Any]) -> float:
    """Share of the test targets that stand in their history; 0 where the report doesn't tell."""
    return _number(report, "data", "repeats", "test") or 0.0


def describe_repeats(share: float) -> str:
    """A clause about targets that stand in their history."""
    return (
        f"{100 * share:.3g} % of the test targets stand in their user's history: a request leaves "
        "such items out (exclude_seen), so they count as misses"
    )


def weaknesses(report: Mapping[str, Any]) -> list[str]:
    """A line for each baseline that the model doesn't reach on test."""
    model, *baselines = report.get("models") or [""]
    ndcg = _number(report, "models", model, "test", "all", "ndcg_at_10")
    lines = []
    for baseline in baselines:
        its = _number(report, "models", baseline, "test", "all", "ndcg_at_10")
        if ndcg is None or its is None or ndcg >= its:
            continue
        gain = ("paired_gains", baseline, "test")
        low, high = (_number(report, *gain, end) for end in ("from", "to"))
        interval = (
            "" if low is None or high is None else f", 95 % interval {low:+.4f} to {high:+.4f}"
        )
        lines.append(
            f"{model} is below {baseline} on the test users: NDCG@10 {ndcg:.4f} against {its:.4f} "
            f"({ndcg - its:+.4f}{interval}); more epochs or another recipe may be better"
        )
    return lines


def _number(document: Any, *path: str) -> float | None:
    """A number within nested objects; None where there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document if isinstance(document, int | float) else None
