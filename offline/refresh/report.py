"""The report of a refresh: what changed, and why a version was or was not published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]
LITTLE, MUCH = 0.1, 0.25
"""Rules of thumb for a population stability index."""


def describe(report: Document) -> str:
    """The report as a page of Markdown.

    Args:
        report: the content of report.json; parts that a refresh did not come to are missing.
    """
    lines = [
        f"# Refresh {report['number']}: {report['outcome']}",
        "",
        f"{report['reason']}.",
        "",
        (
            f"From {report['started_at']} to {report['finished_at']}. The running version was "
            f"{report['running']}; {_published(report)}."
        ),
    ]
    data = report.get("data")
    if data:
        lines += ["", "## What changed", "", *_changes(data)]
    if data and data["new_interactions"]:
        lines += ["", *_drift(data["drift"])]
    if "training" in report:
        lines += ["", "## Training", "", *_training(report["training"])]
    if "comparison" in report:
        lines += ["", "## Comparison", "", *_comparison(report["comparison"])]
    if report["steps"]:
        lines += ["", "## After the comparison", "", *_steps(report["steps"])]
    return "\n".join([*lines, ""])


def _published(report: Document) -> str:
    version = report["version"]
    return f"the new one is {version}" if version else "no version was published"


def _changes(data: Document) -> list[str]:
    lines = [
        (
            f"- {data['new_interactions']:,} new events of {data['active_users']:,} users, "
            f"{data['new_users']:,} of them new{_times(data)}"
        ),
        f"- {data['items_added']:,} items that the running version lacks{_named(data)}",
        (
            f"- {data['interactions']:,} interactions of {data['users']:,} users with "
            f"{data['items']:,} items in all"
        ),
    ]
    if data["forgotten_users"]:
        lines.append(f"- left out: {data['forgotten_users']:,} people who were forgotten")
    return lines


def _times(data: Document) -> str:
    if data["new_from"] is None:
        return ""
    first, last = (
        datetime.fromtimestamp(data[end], UTC).isoformat(timespec="seconds")
        for end in ("new_from", "new_to")
    )
    return f", from {first} to {last}"


def _named(data: Document) -> str:
    some = data["some_items_added"]
    if not some:
        return ""
    more = ", …" if data["items_added"] > len(some) else ""
    return f": {', '.join(some)}{more}"


def _drift(drift: Document) -> list[str]:
    rows = [("items", drift["items"]), ("history lengths", drift["history_lengths"])]
    rows += [(f"attribute {name}", one) for name, one in drift["attributes"].items()]
    return [
        (
            f"{100 * drift['unknown_items']:.3g} % of the new events are with unknown items, "
            f"{100 * drift['unknown_users']:.3g} % of their users are unknown."
        ),
        "",
        "| stability of | PSI | by sampling alone | bins | |",
        "| --- | ---: | ---: | ---: | --- |",
        *(
            f"| {name} | {one['psi']:.3f} | {one['by_sampling']:.3f} | {one['bins']} | "
            f"{_size_of(one)} |"
            for name, one in rows
            if one["psi"] is not None
        ),
    ]


def _size_of(stability: Document) -> str:
    psi = stability["psi"]
    if psi <= max(LITTLE, 2 * stability["by_sampling"]):
        return "little"
    return "much" if psi > MUCH else "some"


def _training(training: Document) -> list[str]:
    return [
        f"- began with {training['start']}",
        (
            f"- epoch {training['best_epoch']} was the best on the events before the newest slice "
            f"(NDCG@10 {training['ndcg_at_10']:.4f})"
        ),
    ]


def _comparison(comparison: Document) -> list[str]:
    everything, known = comparison["all"], comparison["known"]
    return [
        "The newest slice, which neither model saw; means over users, one-sided bounds.",
        "",
        f"- all targets: **{everything['word']}**: {everything['reason']}",
        f"- targets that the running version knows: **{known['word']}**: {known['reason']}",
        (
            f"- {comparison['unknown_targets']:,} targets are unknown to the running version: they "
            "count as its misses among all targets"
        ),
    ]


def _steps(steps: Document) -> list[str]:
    lines = []
    if "publish" in steps:
        lines.append(f"- published as {steps['publish']['version']}")
    lines += [
        f"- {name}: {steps[name]['word']}: {steps[name]['reason']}"
        for name in ("shadow", "canary")
        if name in steps
    ]
    if "promote" in steps:
        done = steps["promote"]
        lines.append(f"- active: {done['active']}, at {done['workers']} workers")
    return lines or ["- nothing"]
