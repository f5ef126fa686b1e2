"""The benchmark's parts, with the echo on both sides: its ratio to itself must be about 1."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from loadtest.answers import find_recommend_fault
from loadtest.api import ask
from loadtest.bench.__main__ import main
from loadtest.bench.comparison import describe, summarise
from loadtest.bench.figures import find_interval
from loadtest.bench.measured_server import (
    MeasuredServer,
    expect_items,
    expect_items_or_rejection,
)
from loadtest.bench.plan import QUICK
from loadtest.bench.rig import Rig, choose_cores
from loadtest.children import Child
from loadtest.errors import TargetError

pytestmark = pytest.mark.alone

MAX_TRIES = 5
PLAN = replace(
    QUICK,
    rounds=2,
    saturated_s=0.4,
    single_s=0.2,
    warm_up_s=0.1,
    n_connections=8,
)


@pytest.fixture(scope="module")
def echo() -> Iterator[Child]:
    command = [sys.executable, "-m", "loadtest.echo", "--port", "{port}"]
    with Child("echo", command, core=choose_cores()[0]) as child:
        yield child


def asked(child: Child, k: int = 10) -> MeasuredServer:
    """A server that is asked for k items, and of which ten are expected."""
    return MeasuredServer.asked(child, [{"user_id": "196", "k": k}], expect_items(10))


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


def test_the_echo_against_itself_has_a_ratio_of_about_one(echo: Child, tmp_path: Path) -> None:
    rig = Rig(PLAN, tmp_path)
    # Wide, and of a few tries one, since other work on the machine moves single rounds.
    for _ in range(MAX_TRIES):
        one, other = asked(echo), asked(echo)
        with rig.measuring():
            rig.alternate((one, other), PLAN.rounds)
            for server in (one, other):
                server.keep_pace(50, 0.5)
        figures = summarise(one, other)
        if 0.5 < figures["ratio"] < 2.0:
            break
    assert 0.5 < figures["ratio"] < 2.0
    assert figures["failed"] == 0
    assert figures["echo_rps"] > 100
    assert 0 < figures["recommend_p50_ms"] <= figures["recommend_p99_ms"]
    for name in ("open_loop", "echo_open_loop"):
        assert figures[name] == {
            "50": {
                **dict.fromkeys(("p50_ms", "p99_ms", "p99_9_ms", "client_late_p99_ms"), ANY),
                "failed": 0,
            }
        }
    assert one.n_sent > sum(len(sample.latencies) for sample in one.single)
    if sys.platform == "linux":
        assert 20 < figures["echo_cpu_us"] < 20_000
    figures["client_ceiling_rps"] = 20_000
    assert "open loop    50 rps" in "\n".join(describe(figures))


def test_wrong_answers_are_counted_and_do_not_make_a_server_look_fast(echo: Child) -> None:
    server = asked(echo, k=9)
    server.saturate(2, 0.5)  # of which a busy machine leaves it a part
    assert server.n_failed > 0
    assert server.rps == [0.0]
    if sys.platform == "linux":  # CPU time is reported, though no answer was right
        assert server.cpu_us[0] >= 10_000


def test_a_429_is_right_only_with_retry_after() -> None:
    expect = expect_items_or_rejection(1)
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\ncontent-length: 2"
    assert expect(429, head, b"{}") is None
    assert expect(429, b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2", b"{}") == (
        "status 429 without Retry-After"
    )
    assert expect(503, head, b"{}") == "status 503"
    assert expect(200, b"", b'{"items":[{"item_id":"1"}]}') is None
    assert expect(200, b"", b'{"items":[]}') == "0 items instead of 1"


def test_an_interval_covers_the_mean_and_shrinks_with_agreement() -> None:
    low, high = find_interval([0.5, 0.6, 0.7]) or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(0.6)
    # s = .1, t(2) = 4.30: half of the width is 4.30 × .1 / √3
    assert high - low == pytest.approx(2 * 4.30 * 0.1 / 3**0.5, abs=1e-3)
    assert find_interval([0.6, 0.6, 0.6]) == [0.6, 0.6]
    assert find_interval([0.6]) is None


def test_a_server_that_does_not_start_gives_one_line_with_its_own_message() -> None:
    with (
        pytest.raises(TargetError, match="broken ended with exit code 3: no such thing"),
        Child("broken", [sys.executable, "-c", "import sys; print('no such thing'); sys.exit(3)"]),
    ):
        pass


def test_a_folder_that_is_no_bundle_gives_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bundle", str(tmp_path / "b")]) == 1
    assert f"{tmp_path / 'b'} is not a bundle" in capsys.readouterr().err
