"""Figures of overload and swap from samples put together by hand."""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loadtest.bench.figures import median_ratio_of, percentiles_ms, ratio_of
from loadtest.bench.overload import Phases, add_cpu_shares
from loadtest.bench.overload import summarise as summarise_overload
from loadtest.bench.shadow import describe as describe_shadow
from loadtest.bench.shadow import summarise as summarise_shadow
from loadtest.bench.swap_figures import FEWEST_SWAPS, SETTLING_S, describe_swaps
from loadtest.bench.swap_figures import summarise as summarise_swaps
from loadtest.bench.watch import CpuWatch, MemoryWatch, Timetable
from loadtest.client import Sample

PATIENCE_S = 60.0
PHASES = Phases(capacity_rps=100, steady_s=2, overload_s=3)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.005)


def make_sample(*rows: tuple[float, int, float]) -> Sample:
    """(intended start s, status, latency ms); everything is sent 1 ms late."""
    sample = Sample(begun_s=1_000.0, elapsed_s=1.0)
    for start_s, status, latency_ms in rows:
        sample.starts.append(1_000.0 + start_s)
        sample.statuses.append(status)
        sample.latencies.append(latency_ms)
        sample.services.append(latency_ms - 1)
        sample.waits.append(status == 429)
    return sample


def test_three_times_the_capacity_is_offered_in_the_middle_and_nowhere_else() -> None:
    starts_s = np.array(list(PHASES.starts_s()))
    assert (np.diff(starts_s) >= 0).all()
    counts = [
        np.count_nonzero((starts_s >= a) & (starts_s < b)) for a, b in ((0, 2), (2, 5), (5, 7))
    ]
    # 140, 900 and 140 are meant; a Poisson count is within four roots of that.
    assert counts == [
        pytest.approx(140, abs=48),
        pytest.approx(900, abs=120),
        pytest.approx(140, abs=48),
    ]
    assert starts_s[-1] < PHASES.ends_s[-1] == 7


def test_an_overload_is_described_by_phase_and_by_answer() -> None:
    sample = make_sample(
        *[(0.1, 200, 70.0), (0.2, 429, 70.0)],  # connections were just being opened
        *[(0.41 + at / 10, 200, 2.0) for at in range(16)],
        *[(2 + at / 100, 200, 6.0) for at in range(100)],
        *[(3 + at / 100, 429, 4.0) for at in range(100)],
        *[(5.5, 200, 9.0), (6.5, 200, 3.0), (6.6, 429, 1.0)],
    )
    sample.n_given_up = 50
    figures = summarise_overload(PHASES, sample)
    assert figures["steady"] == {"p50_ms": 2.0, "p99_ms": 2.0, "p99_9_ms": 2.0, "rps": 10.0}
    assert figures["accepted"]["share"] == 0.4  # of 250 due, 50 of which were never sent
    assert figures["rejected"]["share"] == 0.4
    assert figures["rejected"]["p99_ms"] == 4.0
    assert figures["rejected"]["from_sending"]["p99_ms"] == 3.0
    assert figures["p99_to_steady"] == 3.0
    assert figures["unsent"] == 50
    assert figures["late_ms"]["p50_ms"] == 1.0
    assert figures["found_no_connection"] == 100
    assert (figures["rejected_before"], figures["rejected_after"]) == (1, 1)
    assert figures["offered_rps"] == round(250 / 3, 1)
    assert figures["recovery"]["p99_ms_by_second"] == [9.0, 3.0]


def test_an_overload_in_which_nothing_is_accepted_has_no_tail() -> None:
    figures = summarise_overload(PHASES, make_sample((0.5, 200, 2.0), (3.0, 429, 1.0)))
    assert figures["accepted"]["p99_ms"] is None
    assert "p99_to_steady" not in figures
    assert figures["recovery"]["p99_ms_by_second"] == []


def test_a_swap_lasts_from_the_call_until_it_has_settled() -> None:
    swaps = Timetable([1.0], lambda _: None)
    swaps.done_s = [(1_001.0, 1_001.2)]
    end_s = 1.2 + SETTLING_S
    sample = make_sample(
        *[(0.49, 200, 90.0), (0.99, 200, 1.0), (1.0, 200, 5.0), (1.1, 200, 7.0)],
        *[(end_s - 0.01, 200, 6.0), (end_s + 0.01, 200, 2.0)],
    )
    figures = summarise_swaps(swaps, sample, 70.0, lead_s=0.5)
    assert figures["during"]["requests"] == 3
    assert (figures["during"]["max_ms"], figures["steady"]["p99_ms"]) == (7.0, 2.0)
    assert figures["p99_to_steady"] == 3.5
    assert figures["activation_ms"] == [pytest.approx(200, abs=0.1)]


def test_429s_of_a_busy_machine_are_not_lost_by_a_swap_and_counted_separately() -> None:
    swaps = Timetable([1.0], lambda _: None)
    swaps.done_s = [(1_001.0, 1_001.2)]
    sample = make_sample(
        (0.5, 200, 4.0), (0.6, 429, 1.5), (1.1, 200, 8.0), (1.1, 429, 1.5), (1.2, 429, 1.5)
    )
    sample.faults["status 500"] = 1
    figures = summarise_swaps(swaps, sample, 70.0)
    assert (figures["failed"], figures["rejected"], figures["rejected_during"]) == (1, 3, 2)
    assert figures["faults"] == {"status 500": 1}
    assert figures["during"]["requests"] == 1
    assert (figures["steady"]["p99_ms"], figures["during"]["p99_ms"]) == (4.0, 8.0)
    assert "1 requests failed, 3 were rejected (2 of" in describe_swaps(figures)[0]


def test_the_interval_of_swaps_tells_even_slowness_from_that_of_a_few() -> None:
    """Of 1,000 requests a swap and as many between, 2 % are slow; in swaps ten times as slow."""

    def found(slow_ms: list[float]) -> dict[str, Any]:
        n = len(slow_ms)
        swaps = Timetable([], lambda _: None)
        swaps.done_s = [(1_001.0 + 4 * at, 1_002.5 + 4 * at) for at in range(n)]  # settled at 3 s
        answers = [
            (begun_s + share, 200, tail_ms if number % 50 == 0 else 1.0)
            for at, in_swap_ms in enumerate(slow_ms)
            for begun_s, tail_ms in ((4 * at + 1.0, in_swap_ms), (4 * at - 1.0, 10.0))
            for number, share in enumerate(np.linspace(0, 1.9, 1_000))
        ]
        return summarise_swaps(swaps, make_sample(*answers), 500.0)

    even = found([100.0] * FEWEST_SWAPS)
    assert (even["p99_to_steady"], even["p99_to_steady_interval"]) == (10.0, [10.0, 10.0])
    once = found([100.0] * 12 + [10.0] * 28)
    assert once["p99_to_steady_interval"] == [1.0, 10.0]
    assert "p99_to_steady_interval" not in found([100.0] * (FEWEST_SWAPS - 1))
    assert "95 % 10.00 to 10.00" in describe_swaps(even)[-1]


def test_a_ratio_is_taken_round_by_round() -> None:
    """Both sides of a slow round are slow, which does not change their ratio."""
    ratio, interval = ratio_of([50, 100, 25], [100, 200, 50])
    assert (ratio, interval) == (0.5, [0.5, 0.5])


def test_a_median_of_ratios_is_not_moved_by_a_few_rounds_that_were_slow_on_one_side() -> None:
    generator = np.random.default_rng(5)
    theirs = generator.uniform(1, 5, 100)
    ours = 1.1 * theirs * np.exp(generator.normal(0, 0.15, 100))
    ours[:8] *= 30
    ratio, interval = median_ratio_of(ours.tolist(), theirs.tolist())
    assert interval is not None
    assert interval[0] < 1.1 < interval[1] < 1.25
    assert interval[0] < ratio < interval[1]
    assert median_ratio_of([2.4, 6.0], [2.0, 5.0]) == (1.2, [1.2, 1.2])
    assert median_ratio_of([2.4], [2.0]) == (1.2, None)


def test_percentiles_of_nothing_are_none() -> None:
    assert percentiles_ms(np.empty(0)) == dict.fromkeys(("p50_ms", "p99_ms", "p99_9_ms"))


def test_a_timetable_calls_in_time_and_keeps_faults() -> None:
    calls: list[int] = []

    def act(number: int) -> str | None:
        calls.append(number)
        return "no" if number == 1 else None

    begun_s = time.perf_counter()
    with Timetable([0.05, 0.1], act) as timetable:
        wait_for(lambda: len(timetable.done_s) == 2)
    assert calls == [0, 1]
    assert timetable.faults == ["no"]
    assert timetable.done_s[1][0] - begun_s >= 0.1
    with Timetable([30.0], act):
        pass  # left early: what isn't due yet isn't done
    assert calls == [0, 1]


def test_a_load_outlasts_calls_that_take_longer_than_was_planned() -> None:
    """The second call is due while the first, which takes four times as long, is under way."""
    calls: list[int] = []

    def act(number: int) -> None:
        calls.append(number)
        time.sleep(0.2)

    times_s = [at / 100 for at in range(1_000)]
    with Timetable([0.05, 0.1], act) as timetable:
        begun_s = time.perf_counter()  # after the timetable's own
        for start_s in timetable.until_done(times_s, 0.15):
            time.sleep(max(0.0, begun_s + start_s - time.perf_counter()))
        assert len(timetable.done_s) == 2
    # As much follows the last call's end as was planned to follow its beginning.
    assert start_s >= timetable.done_s[1][1] - begun_s + 0.03
    assert start_s < times_s[-1]
    with Timetable([0.01], lambda _: None) as quick:
        while not quick.done_s:
            time.sleep(0.01)
        late_s = quick.done_s[0][1] - quick.begun_s - 0.01
        assert 0.2 <= max(quick.until_done(times_s, 0.2)) <= 0.2 + late_s


def test_memory_is_watched_while_it_grows() -> None:
    def look(watch: MemoryWatch) -> None:
        n_before = len(watch.rss_bytes)
        wait_for(lambda: len(watch.rss_bytes) > n_before + 1)

    if sys.platform == "linux":
        with MemoryWatch([os.getpid()], interval_s=0.01) as watch:
            look(watch)
            # Not from the heap, where earlier tests may have left as much that is resident already.
            with mmap.mmap(-1, 50 << 20) as held:
                np.frombuffer(held, np.uint8)[:] = 1
                look(watch)
            look(watch)
        found = watch.summary()
        assert found["max_bytes"] - found["start_bytes"] > 45 << 20
        assert found["end_bytes"] < found["max_bytes"]


def test_cpu_shares_are_known_between_any_two_moments() -> None:
    watch = CpuWatch(lambda: None, seen=[(10.0, 1.0), (10.5, 1.5), (12.0, 1.5), (13.0, 2.5)])
    assert watch.shares([10.0, 11.0, 12.0, 13.0]) == [0.5, 0.0, 1.0]
    assert CpuWatch(lambda: None).shares([0.0, 1.0]) == []


def test_cpu_time_of_this_process_is_read_while_it_works() -> None:
    with CpuWatch(time.process_time, interval_s=0.005) as watch:
        time.sleep(0.02)
        begun_s, used_s = time.perf_counter(), time.process_time()
        while time.process_time() < used_s + 0.2:
            pass
        ended_s = time.perf_counter()
        time.sleep(0.02)
        idle_s = time.perf_counter()
    busy, idle = watch.shares([begun_s, ended_s, idle_s])
    assert busy == pytest.approx(0.2 / (ended_s - begun_s), rel=0.3)
    assert idle < busy


def test_cpu_shares_are_reported_second_by_second() -> None:
    sample = make_sample((0.5, 200, 2.0), (5.5, 200, 9.0), (6.5, 200, 3.0))
    figures = summarise_overload(PHASES, sample)
    times_s = [1_000.0, 1_002.0, 1_005.0, 1_006.0, 1_007.0]
    used_s = [0.0, 1.2, 4.2, 4.9, 5.0]
    watch = CpuWatch(lambda: None, seen=list(zip(times_s, used_s, strict=True)))
    add_cpu_shares(figures, PHASES, sample, watch)
    assert figures["steady"]["cpu_share"] == 0.6
    assert figures["recovery"]["cpu_share_by_second"] == [0.7, 0.1]


def test_a_shadows_stretches_are_compared_round_by_round() -> None:
    def stretch(p99_ms: float) -> Sample:
        return make_sample((0.0, 200, p99_ms), (0.1, 200, p99_ms), (0.2, 429, 900.0))

    figures = summarise_shadow([stretch(2.0), stretch(4.0)], [stretch(2.0), stretch(6.0)], 100.0)
    assert figures["p99_ratio"] == 1.25  # of 1 and 1.5
    assert figures["p99_ratio_interval"] is not None
    assert (figures["without"]["requests"], figures["shadowed"]["requests"]) == (4, 4)
    assert (figures["without"]["p99_ms"], figures["shadowed"]["p99_ms"]) == (4.0, 6.0)
    figures |= {"changed_answers": 0, "outcomes": {"busy": 3, "answered": 1_000}}
    first, p90, p99, *_ = describe_shadow({"shadow": figures})
    assert "p99 of a round is 1.250 times that without" in p99
    assert "p90" in p90
    assert "2 rounds: 0 changed answers; of its share 1,000 answered, 3 busy" in first
