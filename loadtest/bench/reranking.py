"""Whether reranking hurts: tail and head users, with `auto` and with `never`, alternating.

First with a language model that is far too slow for any deadline and always busy, on the core of
the service. Then with one that is stopped, killed, or behind an endpoint that misbehaves.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from loadtest.api import ask_text
from loadtest.bench.bundles import BundleFiles
from loadtest.bench.figures import find_interval, format_ms, percentiles_ms
from loadtest.bench.rerank_faults import Killer, is_ready, stopped
from loadtest.bench.rig import MAIN_ITEMS, Rig, print_line, python
from loadtest.bench.tail_load import Answers, Crowd, Mode, Verdict, Visit, draw_starts, send
from loadtest.children import Child
from loadtest.errors import TargetError

DEADLINE_MS = 25
SECOND_DEADLINE_MS = 50
# Past its deadline, an answer still has to be written and sent.
ALLOWANCE_MS = 5.0
# Requests wait as long as their own deadline lets them.
WAIT_MS = 1_000
LOAD_TIMEOUT_S = 180.0  # at the lowest priority, on a machine with other work
IDLE_TIMEOUT_S = 20.0
IN_FLIGHT = "longtail_rerank_in_flight "
NOBODY = "http://127.0.0.1:9"  # the port of a service that no machine offers any more
MODES: tuple[Mode, Mode] = ("auto", "never")

Fault = Literal["none", "stopped", "killed", "restarting"]


@dataclass(frozen=True)
class Case:
    """A state of the reranker.

    fault: of its process. endpoint: how an endpoint behaves, None where the bundle's own language
    model ranks. ranks: whether it ever gives a usable answer. is_quick: measured by a quick run.
    """

    name: str
    fault: Fault = "none"
    endpoint: str | None = None
    ranks: bool = True
    deadline_ms: int = DEADLINE_MS
    is_quick: bool = False


HEALTHY = (
    Case("busy", is_quick=True),
    Case("busy, 50 ms", deadline_ms=SECOND_DEADLINE_MS),
)
FAULTY = (
    Case("hung", "stopped", is_quick=True),
    Case("killed", "killed", is_quick=True),
    Case("restarting", "restarting"),
    Case("endpoint: good", endpoint="good"),
    Case("endpoint: late", endpoint="late", is_quick=True),
    Case("endpoint: slow", endpoint="slow"),
    Case("endpoint: hangs", endpoint="hangs", ranks=False),
    Case("endpoint: resets", endpoint="resets", ranks=False),
    Case("endpoint: garbage", endpoint="garbage", ranks=False, is_quick=True),
    Case("endpoint: dead", endpoint="dead", ranks=False),
)


@dataclass(frozen=True)
class Round:
    """The answers to the same visits in both modes."""

    visits: Sequence[Visit]
    answers: Mapping[Mode, Answers]

    def latencies_ms(self, mode: Mode, *, of_tail: bool) -> npt.NDArray[np.float64]:
        """Latencies of complete answers, float64 [n]."""
        answers = self.answers[mode]
        chosen = [
            visit.is_tail == of_tail and status == 200
            for visit, status in zip(self.visits, answers.statuses, strict=True)
        ]
        return answers.latencies_ms[chosen]


def run(rig: Rig) -> dict[str, Any]:
    """All cases one after the other."""
    is_quick = rig.plan.name == "quick"
    found: dict[str, Any] = {}
    for cases, n_rounds in (
        (HEALTHY, rig.plan.rerank_rounds),
        (FAULTY, rig.plan.rerank_fault_rounds),
    ):
        for case in cases:
            if case.is_quick or not is_quick:
                print_line(f"  {case.name}")
                found[case.name] = _measure(rig, case, n_rounds)
    failed = sum(sum(figures["faults"].values()) for figures in found.values())
    described = {
        "rps": rig.plan.rerank_rps,
        "language_model_layers": rig.plan.rerank_layers,
        "round_s": rig.plan.rerank_s,
        "cases": found,
    }
    return {"reranking": described, "failed": failed}


def _measure(rig: Rig, case: Case, n_rounds: int) -> dict[str, Any]:
    layers = rig.plan.rerank_layers if case.endpoint is None else 0
    bundle = rig.synthetic.get(MAIN_ITEMS, reranker_layers=layers)
    with _endpoint(rig, case.endpoint) as settings:
        settings["LONGTAIL_RERANK_WAIT_MS"] = str(WAIT_MS)
        with rig.service(bundle, store="reranking", environment=settings) as child:
            wait_until_loaded(child)
            with rig.measuring(), _failing(child, case.fault) as killer:
                rounds = _run_rounds(rig, case, child, BundleFiles(bundle), n_rounds)
    # Answers in the store's cache would be found by the next case.
    shutil.rmtree(rig.folder / "reranking")
    figures = summarise(case, rounds)
    if killer is not None:
        figures["killed"] = killer.n_killed
    for fault, count in figures["faults"].items():
        print_line(f"  {count} × {fault}")
    return figures


def _run_rounds(
    rig: Rig, case: Case, child: Child, files: BundleFiles, n_rounds: int
) -> list[Round]:
    crowd = Crowd(files, case.name)
    plan, address = rig.plan, child.address
    warm_up_s = draw_starts(plan.rerank_rps, plan.warm_up_s, 0)
    send(address, crowd.visits(len(warm_up_s)), warm_up_s, "auto", case.deadline_ms)
    rounds = []
    for number in range(n_rounds):
        starts_s = draw_starts(plan.rerank_rps, plan.rerank_s, number + 1)
        visits = crowd.visits(len(starts_s))
        answers: dict[Mode, Answers] = {}
        # The order changes, so that other load on the machine falls on both.
        for mode in MODES if number % 2 == 0 else reversed(MODES):
            if mode == "never" and case.fault == "none" and case.ranks:
                wait_until_idle(child)
            answers[mode] = send(address, visits, starts_s, mode, case.deadline_ms)
        rounds.append(Round(visits, answers))
    return rounds


@contextlib.contextmanager
def _endpoint(rig: Rig, behaviour: str | None) -> Iterator[dict[str, str]]:
    """The settings of a service for such an endpoint, which runs within the context."""
    if behaviour is None:
        yield {}
        return
    api = {"LONGTAIL_RERANK_API": "rerank"}
    if behaviour == "dead":
        yield api | {"LONGTAIL_RERANK_URL": NOBODY}
        return
    command = [*python("loadtest.rerank_endpoint"), "--behaviour", behaviour]
    # As on another machine: on the client's core, which has time to spare.
    with Child("endpoint", command, core=rig.client_core, ready_path=None) as child:
        yield api | {"LONGTAIL_RERANK_URL": child.address.url}


@contextlib.contextmanager
def _failing(child: Child, fault: Fault) -> Iterator[Killer | None]:
    if fault == "stopped":
        with stopped(child):
            yield None
    elif fault in ("killed", "restarting"):
        with Killer(child, once_ready=fault == "restarting") as killer:
            yield killer
    else:
        yield None


def wait_until_loaded(child: Child) -> None:
    """Wait for the reranker.

    Raises:
        TargetError: it doesn't get ready.
    """
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    while not is_ready(child):
        if time.monotonic() > deadline:
            raise TargetError(f"the reranker is not ready after {LOAD_TIMEOUT_S:g} s")
        time.sleep(0.2)


def wait_until_idle(child: Child) -> None:
    """Wait, not for ever, until the reranker has done all its jobs."""
    deadline = time.monotonic() + IDLE_TIMEOUT_S
    while n_in_flight(child) > 0 and time.monotonic() < deadline:
        time.sleep(0.2)


def n_in_flight(child: Child) -> float:
    """The number of jobs that the reranker has not answered."""
    _, text = ask_text(child.address, "GET", "/metrics")
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(IN_FLIGHT))


def summarise(case: Case, rounds: Sequence[Round]) -> dict[str, Any]:
    """Latencies of both kinds of users in both modes, their ratios, and counts of all labels."""
    verdict = Verdict()
    for one in rounds:
        verdict.judge(one.visits, one.answers["auto"], one.answers["never"], may_rerank=case.ranks)
    figures: dict[str, Any] = {"deadline_ms": case.deadline_ms, "rounds": len(rounds)}
    for mode in MODES:
        for name, of_tail in (("head", False), ("tail", True)):
            parts = [one.latencies_ms(mode, of_tail=of_tail) for one in rounds]
            figures[f"{name}_{mode}"] = percentiles_ms(np.concatenate(parts))
    p99_ms = {
        mode: [percentiles_ms(one.latencies_ms(mode, of_tail=False))["p99_ms"] for one in rounds]
        for mode in MODES
    }
    ratios = [a / b for a, b in zip(p99_ms["auto"], p99_ms["never"], strict=True) if a and b]
    auto_ms, never_ms = figures["head_auto"]["p99_ms"], figures["head_never"]["p99_ms"]
    if auto_ms and never_ms:
        figures["head_p99_ratio"] = round(auto_ms / never_ms, 3)
        figures["head_p99_ratio_by_round"] = [round(ratio, 3) for ratio in ratios]
        figures["head_p99_ratio_interval"] = find_interval(ratios)
    return figures | verdict.summary()


def describe(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    found = figures["reranking"]
    lines = [
        f"{found['rps']:g} rps, p99 in ms; tail users' bar is their deadline + {ALLOWANCE_MS:g}",
        f"{'':<19}{'tail':>7}{'bar':>5}{'never':>8}{'head':>8}{'never':>8}{'ratio':>7}  outcomes",
    ]
    for name, case in found["cases"].items():
        p99_ms = [
            format_ms(case[part]["p99_ms"], 1)
            for part in ("tail_auto", "tail_never", "head_auto", "head_never")
        ]
        outcomes = " ".join(f"{label} {count}" for label, count in sorted(case["outcomes"].items()))
        wrong = sum(case["faults"].values())
        lines.append(
            f"{name:<19}{p99_ms[0]:>7}{case['deadline_ms'] + ALLOWANCE_MS:>5.0f}{p99_ms[1]:>8}"
            f"{p99_ms[2]:>8}{p99_ms[3]:>8}{case.get('head_p99_ratio', float('nan')):>7.2f}"
            f"  {outcomes}{f'; {wrong} WRONG' if wrong else ''}"
        )
    return lines
