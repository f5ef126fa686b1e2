"""Simulated users whose requests have intended start times; the base of all locust files.

Locust itself waits for an answer before it plans the next request, so a service that stalls gets
fewer requests and looks fast. Here every user follows `pacing.Arrivals`, and reported latencies,
locust's too, count from the intended start.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust import FastHttpUser, events, task
from locust.env import Environment
from locust.exception import StopUser

from loadtest.api import version_of, wait_until_ready
from loadtest.caller_key import caller_headers
from loadtest.errors import LoadTestError
from loadtest.options import add_load_options, read_arrivals, read_thresholds
from loadtest.recorder import Recorder
from loadtest.results import (
    describe_circumstances,
    format_results,
    name_results,
    write_results,
)
from loadtest.target import parse_target
from loadtest.workload import Draws, Workload

FaultFinder = Callable[[int, Any], str | None]

ANSWER_TIMEOUT_S = 10.0
DRAIN_S = ANSWER_TIMEOUT_S + 5.0  # after the last intended start, for requests still under way
PROGRESS_INTERVAL_S = 1.0


class Run:
    """One run of a locust file: its beginning, its users' progress, and its results."""

    def __init__(self, environment: Environment, ready: dict[str, Any]) -> None:
        options = environment.parsed_options
        if options is None:
            raise RuntimeError("a paced run needs locust's command line options")
        self.options = options
        self.environment = environment
        self.ready = ready
        self.workload = Workload.load(Path(options.workload_file))
        self.arrivals = read_arrivals(options, options.num_users or 1)
        self.recorder = Recorder()
        self.begun = Event()
        self.begun_s = 0.0
        self.last_end_s = 0.0
        self.user_numbers = itertools.count()
        self.n_finished = 0

    def begin(self, **_: object) -> None:
        """Start the clock for all users, once all of them exist."""
        if not self.begun.is_set():
            self.begun_s = time.perf_counter()
            self.begun.set()
            gevent.spawn(self._watch)

    def _watch(self) -> None:
        """Print progress, and end the run when every user has finished or time is up."""
        n_shown, shown_s = 0, self.begun_s
        limit_s = self.begun_s + self.arrivals.duration_s + DRAIN_S
        while self.n_finished < self.arrivals.n_users and time.perf_counter() < limit_s:
            gevent.sleep(0.05)
            now_s = time.perf_counter()
            if now_s - shown_s >= PROGRESS_INTERVAL_S:
                n_new = self.recorder.n_requests - n_shown
                self._show_progress(now_s - self.begun_s, n_new, n_new / (now_s - shown_s))
                n_shown, shown_s = self.recorder.n_requests, now_s
        runner = self.environment.runner
        if runner is not None:
            runner.quit()

    def _show_progress(self, elapsed_s: float, n_new: int, rps: float) -> None:
        recent = sorted(self.recorder.recent_ms(max(1, n_new)))
        p50 = f"{recent[len(recent) // 2]:.1f}" if recent else "-"
        worst = f"{recent[-1]:.1f}" if recent else "-"
        print(
            f"{elapsed_s:4.0f} s of {self.arrivals.duration_s:g} s  "
            f"{self.recorder.n_requests} answered  {rps:.0f}/s  p50 {p50} ms  "
            f"worst {worst} ms  {self.recorder.failures.total()} failed",
            file=sys.stderr,
            flush=True,
        )

    def results(self) -> dict[str, Any]:
        """The document that is written about the run."""
        duration_s = self.arrivals.duration_s
        elapsed_s = max(duration_s, self.last_end_s - self.begun_s)
        return {
            "workload": Path(self.options.locustfile).stem,
            "workload_source": self.workload.source,
            "url": self.environment.host,
            "bundle_version": version_of(self.ready),
            "execution_provider": self.ready.get("execution_provider"),
            "rate_rps": self.arrivals.rate_rps,
            "duration_s": duration_s,
            "arrivals": self.arrivals.kind,
            "users": self.arrivals.n_users,
            "k": self.options.k,
            "seed": self.arrivals.seed,
            **describe_circumstances(),
            "figures": self.recorder.figures(elapsed_s),
        }


class PacedUser(FastHttpUser):
    """A user with intended starts; a locust file sends its request in `make_request`."""

    abstract = True
    network_timeout = ANSWER_TIMEOUT_S
    connection_timeout = ANSWER_TIMEOUT_S
    max_redirects = 0  # load goes to the target only, not to where an answer points
    run_of: Run

    def make_request(self) -> None:
        """Send one request with `self.request`."""
        raise NotImplementedError

    def on_start(self) -> None:
        """Wait for all the others, then take this user's intended starts."""
        run = _current_run()
        number = next(run.user_numbers)
        self.run_of = run
        self.draws = Draws(run.workload, f"{run.arrivals.seed}:{number}")
        self.k: int = run.options.k
        self._starts: Iterator[float] = run.arrivals.of_user(number)
        self._intended_s = 0.0
        self._kept = True
        run.begun.wait()

    def wait_time(self) -> float:
        """No wait of locust's own: `keep_appointment` waits."""
        return 0.0

    @task
    def keep_appointment(self) -> None:
        """Wait for the next intended start, or start at once when it has passed already."""
        start_s = next(self._starts, None)
        if start_s is None:
            self.run_of.n_finished += 1
            raise StopUser
        self._intended_s = self.run_of.begun_s + start_s
        self._kept = False
        early_s = self._intended_s - time.perf_counter()
        if early_s > 0:
            gevent.sleep(early_s)
            # The service was not the cause, so this lateness is our own.
            lag_s = time.perf_counter() - self._intended_s
            self.run_of.recorder.client_lag_ms.append(lag_s * 1_000)
        self.make_request()
        self._kept = True

    def request(
        self,
        name: str,
        method: str,
        path: str,
        find_fault: FaultFinder,
        body: dict[str, object] | None = None,
    ) -> Any:
        """Send, check and record one request; its answer as JSON, None if it has a fault."""
        begun_s = time.perf_counter()
        with self.client.request(
            method, path, name=name, json=body, catch_response=True, allow_redirects=False
        ) as response:
            ended_s = time.perf_counter()
            latency_ms = (ended_s - self._intended_s) * 1_000
            answer = _read_json(response)
            error = response.request_meta["exception"]
            fault = (
                f"no answer ({type(error).__name__})"
                if response.status_code == 0
                else find_fault(response.status_code, answer)
            )
            if fault is None:
                response.success()
            else:
                response.failure(fault)
            response.request_meta["response_time"] = latency_ms
        self.run_of.last_end_s = time.perf_counter()
        self.run_of.recorder.record(
            name,
            latency_ms,
            service_ms=(ended_s - begun_s) * 1_000,
            fault=fault,
            answer=answer,
        )
        return answer if fault is None else None

    def on_stop(self) -> None:
        """Count requests as failed that were due and never sent, or never answered."""
        now_s = time.perf_counter() - self.run_of.begun_s
        due = not self._kept and self._intended_s - self.run_of.begun_s <= now_s
        due_behind = itertools.takewhile(lambda start_s: start_s <= now_s, self._starts)
        self.run_of.recorder.n_unsent += due + sum(1 for _ in due_behind)


def _read_json(response: Any) -> Any:
    try:
        return response.json()
    except (ValueError, TypeError):
        return None


_run: Run | None = None


def _current_run() -> Run:
    if _run is None:
        raise RuntimeError("the run has not been set up")
    return _run


def _declare_options(parser: Any) -> None:
    add_load_options(parser)
    parser.add_argument("--workload-file", required=False, help="written by loadtest.workload")
    parser.add_argument("--out", help="results file (JSON)")


def _set_up(environment: Environment, **_: object) -> None:
    """Reject options that can't be measured, before any load is sent."""
    global _run
    options = environment.parsed_options
    try:
        if options is None or not options.headless or options.master or options.worker:
            raise LoadTestError("paced runs are headless, in one process: use loadtest.run")
        if not options.workload_file:
            raise LoadTestError(
                "--workload-file is missing (python -m loadtest.workload writes it)"
            )
        if not environment.host:
            raise LoadTestError("--host is missing, like http://127.0.0.1:8000")
        address = parse_target(environment.host, owned=options.i_own_this_host)
        PacedUser.default_headers = caller_headers()
        _run = Run(environment, wait_until_ready(address))
    except LoadTestError as error:
        sys.exit(f"loadtest: {error}")
    _listen(environment.events.spawning_complete, _run.begin)


def _conclude(environment: Environment, **_: object) -> None:
    """Write the results, and set the exit code by the thresholds."""
    run = _current_run()
    results = run.results()
    broken = read_thresholds(run.options).find_broken(results["figures"])
    if environment.runner is not None and environment.runner.exceptions:
        broken.append("the load generator itself raised an exception, see above")
    results["broken_thresholds"] = broken
    path = Path(run.options.out or name_results(results["workload"]))
    write_results(path, results)
    # Locust's own tables round to whole milliseconds.
    logging.getLogger("locust.stats_logger").setLevel(logging.ERROR)
    print(format_results(results), flush=True)
    print(f"results: {os.path.relpath(path)}", file=sys.stderr)
    for line in broken:
        print(f"loadtest: BROKEN: {line}", file=sys.stderr)
    environment.process_exit_code = 1 if broken else 0


def _listen(hook: Any, listener: Callable[..., None]) -> None:
    hook.add_listener(listener)


_listen(events.init_command_line_parser, _declare_options)
_listen(events.init, _set_up)
_listen(events.quitting, _conclude)
