"""The benchmark's sections in their order; runs them one by one and keeps their figures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from loadtest.bench import (
    catalogue,
    cluster,
    comparison,
    demo,
    exposures,
    footprint,
    knowledge,
    overload,
    reranking,
    rules,
    shadow,
    shapes,
    swap,
    swap_memory,
    swap_services,
    workers,
)
from loadtest.bench.plan import Plan
from loadtest.bench.rig import Rig
from loadtest.errors import LoadTestError

Figures = dict[str, Any]

NAMES = (
    "comparison",
    "demo",
    "lengths",
    "ks",
    "batches",
    "knowledge",
    "overload",
    "swap",
    "swap_memory",
    "swap_services",
    "shadow",
    "workers",
    "footprint",
    "rules",
    "exposures",
    "cluster",
    "reranking",
    "catalogue",
)
QUICK_NAMES = ("comparison", "overload", "swap", "reranking")
DONE = "done"


@dataclass(frozen=True)
class Section:
    """One part of the benchmark.

    `run` returns figures for the document, and under `failed` the number of failed requests (or
    other counted faults). `describe` turns figures into lines for people.
    """

    name: str
    run: Callable[[Rig], Figures]
    describe: Callable[[Figures], list[str]]


def choose_sections(plan: Plan, names: Iterable[str]) -> list[Section]:
    """The sections of these names in their order.

    The catalogue has one for each size, and swaps of services one for each form.
    """
    wanted = set(names)
    known = {
        "comparison": [Section("comparison", comparison.run, comparison.describe)],
        "demo": [Section("demo", demo.run, demo.describe)],
        "lengths": [Section("lengths", shapes.run_lengths, shapes.describe_lengths)],
        "ks": [Section("ks", shapes.run_ks, shapes.describe_ks)],
        "batches": [Section("batches", shapes.run_batches, shapes.describe_batches)],
        "knowledge": [Section("knowledge", knowledge.run, knowledge.describe)],
        "overload": [Section("overload", overload.run, overload.describe)],
        "swap": [Section("swap", swap.run, swap.describe)],
        "swap_memory": [Section("swap_memory", swap_memory.run, swap_memory.describe)],
        "swap_services": [
            Section(
                f"swaps of {form.name}",
                partial(swap_services.run, form=form),
                swap_services.describe,
            )
            for form in swap_services.FORMS
        ],
        "shadow": [Section("shadow", shadow.run, shadow.describe)],
        "workers": [Section("workers", workers.run, workers.describe)],
        "footprint": [Section("footprint", footprint.run, footprint.describe)],
        "rules": [Section("rules", rules.run, rules.describe)],
        "exposures": [Section("exposures", exposures.run, exposures.describe)],
        "cluster": [Section("cluster", cluster.run, cluster.describe)],
        "reranking": [Section("reranking", reranking.run, reranking.describe)],
        "catalogue": [
            Section(f"catalogue of {n}", partial(catalogue.run, n_items=n), catalogue.describe)
            for n in plan.catalogue_sizes
        ],
    }
    return [section for name in NAMES if name in wanted for section in known[name]]


def run_sections(
    sections: Iterable[Section],
    rig: Rig,
    document: Figures,
    keep: Callable[[Figures], None],
) -> None:
    """Run the sections that the document doesn't hold yet, and put their figures into it.

    A section that can't be measured is marked as failed, and the others go on. `keep` is
    called with the document after each section. Lines for people go to stdout.
    """
    states: Figures = document.setdefault("sections", {})
    for section in sections:
        if states.get(section.name, {}).get("state") == DONE:
            print(f"{section.name}: measured before", file=sys.stderr, flush=True)
            continue
        print(f"{section.name} …", file=sys.stderr, flush=True)
        begun_s = time.monotonic()
        state: Figures = {"state": DONE, "failed": 0}
        try:
            figures = section.run(rig)
        except (LoadTestError, OSError) as error:
            state = {"state": f"failed: {error}", "failed": 1}
            print(f"{section.name} failed: {error}", file=sys.stderr, flush=True)
        else:
            print(f"\n{section.name}", *section.describe(figures), sep="\n", flush=True)
            state["failed"] = figures.pop("failed")
            merge(document, figures)
        states[section.name] = state | {"seconds": round(time.monotonic() - begun_s, 1)}
        document["failed"] = count_failures(document)
        keep(document)


def count_failures(document: Mapping[str, Any]) -> int:
    """Failures of all sections together."""
    return sum(state["failed"] for state in document.get("sections", {}).values())


def merge(into: Figures, figures: Mapping[str, Any]) -> None:
    """Put figures into a document; parts that both have are merged."""
    for name, value in figures.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value
