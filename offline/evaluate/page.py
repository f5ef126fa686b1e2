"""The report as a page that a person reads (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_GROUPS = {"all": "all users", "tail": "tail users (the fifth with the fewest interactions)"}
_GROUPS |= {"cold": "cold items (targets without a training interaction)"}


def render_page(report: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Markdown of a report; `plots` are names of files in its folder."""
    models = report["models"]
    parts = [f"# {next(iter(models))}: offline report", report["protocol"], _describe(report)]
    for part in ("test", "validation"):
        groups = next(iter(models.values()))[part]
        parts.append(f"## {part.capitalize()}")
        for group, title in _GROUPS.items():
            if group in groups:
                cases = groups[group]["cases"]
                rows = {name: figures[part][group] for name, figures in models.items()}
                parts.append(f"### {title}: {cases:,} cases\n\n{_table(rows)}")
    if report["paired_gains"]:
        parts.append(_gains(report))
    parts += [f"![{name}]({name})" for name in plots]
    if report["facts"]:
        rows_of_facts = "\n".join(f"| {key} | {value} |" for key, value in _flat(report["facts"]))
        parts.append(f"## Made with\n\n| fact | value |\n| --- | --- |\n{rows_of_facts}")
    return "\n\n".join(parts) + "\n"


def _describe(report: Mapping[str, Any]) -> str:
    data, hardware = report["data"], report["hardware"]
    return (
        f"{data['users']:,} users, {data['items']:,} items, "
        f"{data['training_interactions']:,} training interactions; held out by "
        f"{report['split'].replace('_', ' ')}. Measured on {hardware['cpu']}, "
        f"{hardware['cores']} cores."
    )


def _table(rows: Mapping[str, Mapping[str, float]]) -> str:
    lines = [
        "| model | HR@10 | NDCG@10 | MRR@10 | coverage@10 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, figures in rows.items():
        hit_rate = _with_error(figures, "hit_rate_at_10")
        ndcg = _with_error(figures, "ndcg_at_10")
        lines.append(
            f"| {name} | {hit_rate} | {ndcg} "
            f"| {figures['mrr_at_10']:.4f} | {figures['coverage_at_10']:.3f} |"
        )
    return "\n".join(lines)


def _with_error(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.4f} ± {figures[f'{name}_standard_error']:.4f}"


def _gains(report: Mapping[str, Any]) -> str:
    first = next(iter(report["models"]))
    lines = [
        f"## Gains of {first} in NDCG@10, paired over users",
        "",
        "| over | part | gain | 95 % interval |",
        "| --- | --- | --- | --- |",
    ]
    for other, parts in report["paired_gains"].items():
        for part, gain in parts.items():
            interval = f"{gain['from']:+.4f} … {gain['to']:+.4f}"
            lines.append(f"| {other} | {part} | {gain['ndcg_at_10']:+.4f} | {interval} |")
    return "\n".join(lines)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows
