"""The report of a refresh: what changed, and why a version was or was not published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from model_store.deployments import DEFAULT

Document = dict[str, Any]
LITTLE, MUCH = 0.1, 0.25
"""Rules of thumb for a population stability index."""
_EVIDENCE = {
    "drawn": "answers drawn at random",
    "unprompted": "events that follow no answer, or all events",
    "all": "all events",
    "ratings": "the newest ratings",
}
_OF_RATINGS = {
    "all": "all ratings",
    "known": "those of items that the running version knows",
}
_PARTS = {
    "unprompted": "events that follow no answer",
    "unprompted_known": "those of them with items that the running version knows",
    "all": "all events",
    "known": "all events with items that the running version knows",
}


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
            f"From {report['started_at']} to {report['finished_at']}. The running version "
            f"{_under(report)}was {report['running']}; {_published(report)}."
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


def _under(report: Document) -> str:
    return "" if report["model"] == DEFAULT else f"under the name {report['model']} "


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
    if "r2" in training:
        held_out, figure = "ratings", f"R² {training['r2']:.4f}"
    else:
        held_out, figure = "events", f"NDCG@10 {training['ndcg_at_10']:.4f}"
    return [
        f"- began with {training['start']}",
        (
            f"- epoch {training['best_epoch']} was the best on the {held_out} before the newest "
            f"slice ({figure})"
        ),
    ]


def _comparison(comparison: Document) -> list[str]:
    lines = [
        f"Decided by **{_EVIDENCE[comparison['evidence']]}**: {comparison['why']}.",
        "",
        "The newest slice, which neither model saw; means over users, one-sided bounds.",
        "",
    ]
    if drawn := comparison.get("drawn"):
        lines.append(f"- answers drawn at random: {_drawn(drawn)}")
    is_of_ratings = comparison["evidence"] == "ratings"
    lines += [
        f"- {about}: {_bold(found)}"
        for name, about in (_OF_RATINGS if is_of_ratings else _PARTS).items()
        if (found := comparison.get(name))
    ]
    if is_of_ratings:
        return [
            *lines,
            (
                f"- {comparison['unknown_targets']:,} are of items unknown to the running version, "
                "which predicts the user's mean for them"
            ),
        ]
    prompted, unknown = comparison["prompted_targets"], comparison["unknown_targets"]
    return [
        *lines,
        f"- {prompted:,} events name the answer that they follow",
        (
            f"- {unknown:,} targets are unknown to the running version: they count as its misses "
            "among all targets"
        ),
    ]


def _drawn(drawn: Document) -> str:
    found = drawn["judgement"]
    told = f"not told: {drawn['why_not']}" if found is None else _bold(found)
    return (
        f"{told}; {drawn['places']:,} places of {drawn['answers']:,} answers, effective sample "
        f"size {drawn['effective_sample_size']:,.0f}, {100 * drawn['support']:.1f} % of what the "
        "models would show could have been drawn"
    )


def _bold(found: Document) -> str:
    return f"**{found['word']}**: {found['reason']}"


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
