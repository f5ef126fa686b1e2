"""The benchmark's parts, with the echo on both sides: its ratio to itself must be about 1."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import pytest

from loadtest.answers import find_recommend_fault
from loadtest.api import ask
from loadtest.bench import Plan, choose_cores, find_bundle, main, measure_in_turns
from loadtest.bench_figures import find_interval, format_bench, summarise
from loadtest.children import Child
from loadtest.client import encode_post
from loadtest.errors import TargetError, WorkloadError
from loadtest.measured_server import MeasuredServer, expect_items

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def echo() -> Iterator[Child]:
    command = [sys.executable, "-m", "loadtest.echo", "--port", "{port}"]
    with Child("echo", command, core=choose_cores()[0]) as child:
        yield child


def test_the_echo_has_the_shapes_of_the_contract(echo: Child) -> None:
    for k in (1, 10, 100):
        body = {"user_id": "196", "k": k}
        status, answer = ask(echo.address, "POST", "/recommend", body)
        assert find_recommend_fault(status, answer, k=k, user_id="196") is None
    everything = {
        "user_id": "196",
        "history": ["242", "302"],
        "k": 10,
        "exclude": ["50"],
        "candidates": None,
        "filters": {"genres": {"any": ["Comedy"]}, "year": {"gte": 1990}},
        "exclude_seen": True,
        "diversity": 0.0,
        "rerank": "auto",
        "deadline_ms": 50,
        "explain": False,
        "interests": None,
        "fields": ["title"],
    }
    assert ask(echo.address, "POST", "/recommend", everything)[0] == 200
    assert ask(echo.address, "POST", "/recommend", {"k": 0})[0] == 422
    assert ask(echo.address, "POST", "/recommend", {"unknown": 0})[0] == 422


def test_the_echo_against_itself_has_a_ratio_of_about_one(echo: Child) -> None:
    request = encode_post(echo.address, "/recommend", {"user_id": "196", "k": 10})
    one, other = (MeasuredServer(echo, [request], expect_items(10)) for _ in range(2))
    plan = Plan(2, 0.4, 0.2, 0.5, warm_up_s=0.1, n_connections=8, rates_rps=(50,))
    measure_in_turns(plan, one, other)
    figures = summarise(one, other)
    # Wide, since other work on the machine moves single rounds.
    assert 0.5 < figures["ratio"] < 2.0
    assert figures["failed"] == 0
    assert figures["echo_rps"] > 100
    assert 0 < figures["recommend_p50_ms"] <= figures["recommend_p99_ms"]
    assert figures["open_loop"] == {
        "50": {"p50_ms": ANY, "p99_ms": ANY, "p99_9_ms": ANY, "failed": 0}
    }
    if sys.platform == "linux":
        assert 20 < figures["echo_cpu_us"] < 20_000
    figures["client_ceiling_rps"] = 20_000
    assert "open loop    50 rps" in format_bench(figures)


def test_wrong_answers_are_counted_and_do_not_make_a_server_look_fast(echo: Child) -> None:
    request = encode_post(echo.address, "/recommend", {"user_id": "196", "k": 9})
    server = MeasuredServer(echo, [request], expect_items(10))
    server.saturate(2, 0.1)
    assert server.n_failed > 0
    assert server.rps == [0.0]


def test_an_interval_covers_the_mean_and_shrinks_with_agreement() -> None:
    low, high = find_interval([0.5, 0.6, 0.7]) or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(0.6)
    # s = .1, t(2) = 4.30: half of the width is 4.30 × .1 / √3
    assert high - low == pytest.approx(2 * 4.30 * 0.1 / 3**0.5, abs=1e-3)
    assert find_interval([0.6, 0.6, 0.6]) == [0.6, 0.6]
    assert find_interval([0.6]) is None


def test_a_server_that_does_not_start_is_one_line_with_its_own_words() -> None:
    with (
        pytest.raises(TargetError, match="broken ended with exit code 3: no such thing"),
        Child("broken", [sys.executable, "-c", "import sys; print('no such thing'); sys.exit(3)"]),
    ):
        pass


def test_the_newest_bundle_is_taken_and_none_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path))
    with pytest.raises(WorkloadError, match="holds no bundle"):
        find_bundle(None)
    assert main([]) == 1
    assert "holds no bundle" in capsys.readouterr().err
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    (tmp_path / "unfinished").mkdir()
    assert find_bundle(None) == tmp_path / "a"
    assert find_bundle(tmp_path / "b") == tmp_path / "b"
