"""The last refresh as a text file in Prometheus' format, for its node exporter."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from model_store.deployments import DEFAULT
from offline.refresh.evidence import NAMES

Document = dict[str, Any]
OUTCOMES = ("declined", "published", "promoted")
RATINGS = "ratings"
"""What decides about a version that predicts ratings."""


def to_prometheus(report: Document) -> str:
    """The file's content.

    Args:
        report: the content of report.json.
    """
    finished_s = datetime.fromisoformat(report["finished_at"]).timestamp()
    lines = [
        *_gauge("last_run_timestamp_seconds", "End of the last refresh.", {"": finished_s}),
        *_gauge(
            "outcome",
            "1 for what became of the last refresh.",
            {_label("outcome", one): float(report["outcome"] == one) for one in OUTCOMES},
        ),
    ]
    if data := report.get("data"):
        lines += _of_data(data)
    if comparison := report.get("comparison"):
        everything = comparison["all"]
        models = {
            _label("model", name): everything[name]
            for name in ("candidate", "running")
            if everything[name] is not None
        }
        slice_ = "which neither model saw; mean over users."
        if comparison["evidence"] == RATINGS:
            about = f"Squared error on the newest ratings, {slice_}"
            lines += _gauge("squared_error", about, models)
        else:
            lines += _gauge("ndcg", f"NDCG@10 on the newest events, {slice_}", models)
        by = (*NAMES, RATINGS)
        decided = {_label("by", name): float(comparison["evidence"] == name) for name in by}
        lines += _gauge("evidence", "1 for what decided the last comparison.", decided)
    if report["model"] != DEFAULT:
        lines = [_under(report["model"], line) for line in lines]
    return "\n".join([*lines, ""])


def _under(model: str, line: str) -> str:
    """A line of another name's refreshes: they are in a file of their own."""
    if line.startswith("#"):
        return line
    full, value = line.rsplit(" ", 1)
    own = full.removesuffix("}")
    separator = "{" if own == full else ","
    return f'{own}{separator}name="{model}"}} {value}'


def _of_data(data: Document) -> list[str]:
    drift = data["drift"]
    of = {"items": drift["items"], "history_lengths": drift["history_lengths"]}
    of |= {f"attribute:{name}": one for name, one in drift["attributes"].items()}
    found = {_label("of", name): one["psi"] for name, one in of.items() if one["psi"] is not None}
    return [
        *_gauge("psi", "Population stability index of new events against the last data.", found),
        *_gauge(
            "unknown_items_share",
            "Share of the new events whose item the running version lacks.",
            {"": drift["unknown_items"]},
        ),
        *_gauge(
            "unknown_users_share",
            "Share of the users of new events who had no interaction before.",
            {"": drift["unknown_users"]},
        ),
        *_gauge("new_interactions", "New positive events.", {"": data["new_interactions"]}),
        *_gauge("items_added", "Items the running version lacks.", {"": data["items_added"]}),
    ]


def _gauge(name: str, about: str, values: dict[str, float]) -> list[str]:
    full = f"longtail_refresh_{name}"
    rows = [f"{full}{labels} {value:.10g}" for labels, value in values.items()]
    return [f"# HELP {full} {about}", f"# TYPE {full} gauge", *rows]


def _label(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{{name}="{escaped}"}}'
