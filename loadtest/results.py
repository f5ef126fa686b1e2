"""A run's results: one JSON document with everything needed to repeat it, and a short table."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.hardware import describe_commit, describe_hardware

RESULTS_FOLDER = Path(__file__).resolve().parent / "results"


def describe_circumstances() -> dict[str, Any]:
    """Date, machine, commit and command of a measurement."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": describe_commit(),
        "hardware": dict(describe_hardware()),
        "command": shlex.join(sys.orig_argv),
    }


def name_results(workload: str) -> Path:
    """The default results file of a run that starts now."""
    return RESULTS_FOLDER / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{workload}.json"


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    partial.replace(path)


def format_results(results: Mapping[str, Any]) -> str:
    """The table a person reads after a run."""
    figures = results["figures"]
    rows = [("all requests", figures["due"], figures["latency_ms"])]
    rows += [
        (name, part["requests"], part["latency_ms"])
        for name, part in figures["by_request"].items()
        if len(figures["by_request"]) > 1
    ]
    rows.append(("  from real start", figures["requests"], figures["service_ms"]))
    rows.append(("  client's own lag", figures["requests"], figures["client_lag_ms"]))
    lines = [f"{'latency, ms':<28}{'requests':>9}{_cells(['p50', 'p90', 'p99', 'p99.9', 'max'])}"]
    for name, count, times in rows:
        values = ["-" if value is None else f"{value:.2f}" for value in times.values()]
        lines.append(f"{name:<28}{count:>9}{_cells(values)}")
    rps = "-" if figures["rps"] is None else f"{figures['rps']:.1f}"
    lines.append(
        f"{rps} good answers/s of {results['rate_rps']:g} intended; {figures['failed']} failed "
        f"({figures['failure_share']:.3%}), {figures['unsent']} of them never sent"
    )
    for heading in ("served_by", "degraded", "model_versions"):
        counts = ", ".join(f"{name} {count}" for name, count in figures[heading].items())
        lines.append(f"{heading:<15} {counts or 'none'}")
    lines += [f"  {count} × {fault}" for fault, count in figures["failures"].items()]
    return "\n".join(lines)


def _cells(values: Sequence[str]) -> str:
    return "".join(f"{value:>10}" for value in values)
