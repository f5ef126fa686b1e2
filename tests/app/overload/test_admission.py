from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.overload.admission import CALM_S, MIN_AT_ONCE, PATIENCE_S, Admission
from app.overload.demand import FIRST_COST_S, MEMORY_S, SAMPLE_ANSWERS
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from tests.app.conftest import publish_and_activate, settings_for
from tests.app.listening import listening, read_answer


class Clock:
    """The time of a thread that has a core to itself: work takes CPU time, sleep does not."""

    def __init__(self) -> None:
        self.now_s, self.cpu_s = 1_000.0, 10.0

    def perf_counter(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        return self.cpu_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def work(self, seconds: float) -> None:
        self.now_s += seconds
        self.cpu_s += seconds

    def answer(self, admission: Admission, count: int, cost_s: float, waiting: int = 0) -> None:
        """So many answers that each take some time of the processor, while others wait."""
        for _ in range(waiting):
            admission.enter()
        for _ in range(count):
            admission.enter()
            self.work(cost_s)
            admission.leave()
        for _ in range(waiting):
            admission.leave()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Real clocks would measure what else the machine does."""
    clock = Clock()
    monkeypatch.setattr("app.overload.admission.time", clock)
    monkeypatch.setattr("app.overload.demand.perf_counter", clock.perf_counter)
    monkeypatch.setattr("app.overload.demand.thread_time", clock.thread_time)
    return clock


def test_with_costly_answers_fewer_are_admitted(clock: Clock) -> None:
    told: list[float] = []
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000, on_limit=told.append)
    first = admission.limit
    assert told == [first]
    clock.answer(admission, SAMPLE_ANSWERS * 4, 0.0001, waiting=first)
    many = admission.limit
    assert many > first
    assert told[-1] == many
    clock.answer(admission, SAMPLE_ANSWERS * 4, 0.002, waiting=many)
    assert MIN_AT_ONCE <= admission.limit < first
    assert told[-1] == admission.limit


def test_the_cost_of_an_answer_is_its_time_while_others_share_the_processor(clock: Clock) -> None:
    """A tenth of the time goes to others; where more does, nothing is learnt."""
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000)

    def answer_beside_others(theirs_s: float) -> None:
        for _ in range(SAMPLE_ANSWERS * 10):
            admission.enter()
            clock.work(0.0009)
            clock.sleep(theirs_s)
            admission.leave()

    for _ in range(admission.limit):
        admission.enter()
    answer_beside_others(0.0001)
    assert admission.limit == pytest.approx(0.02 / 0.001, abs=3)
    before = admission.limit
    answer_beside_others(0.0009)
    assert admission.limit == before


def test_real_clocks_are_read() -> None:
    """A loaded machine hides the cost of many samples, but not of all that last for 3 ms."""
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000)
    first = admission.limit
    deadline_s = time.perf_counter() + 20
    while admission.limit <= first:
        assert time.perf_counter() < deadline_s
        for _ in range(first):
            admission.enter()
        for _ in range(SAMPLE_ANSWERS):
            admission.enter()
            until_s = time.thread_time() + 0.00005
            while time.thread_time() < until_s:
                pass
            admission.leave()
        for _ in range(first):
            admission.leave()


def test_idleness_teaches_nothing(clock: Clock) -> None:
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000)
    before = admission.limit
    for _ in range(before):
        admission.enter()
    for _ in range(SAMPLE_ANSWERS):
        admission.enter()
        clock.sleep(0.001)
        admission.leave()
    assert admission.limit == before


def test_answers_with_little_to_do_teach_nothing(clock: Clock) -> None:
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000)
    before = admission.limit
    clock.answer(admission, SAMPLE_ANSWERS * 2, 0.002)
    assert admission.limit == before


def test_a_burst_is_taken_in() -> None:
    admission = Admission(max_wait_s=1e-6, max_in_flight=1_000)
    for _ in range(20 * MIN_AT_ONCE):
        assert not admission.rejects()
        admission.enter()


def test_requests_that_wait_for_the_reranker_keep_no_others_out(clock: Clock) -> None:
    admission = Admission(max_wait_s=1e-6, max_in_flight=10 * MIN_AT_ONCE)
    for _ in range(9 * MIN_AT_ONCE):
        admission.enter()
        admission.idle(1)
    assert admission.count() == 0
    for _ in range(MIN_AT_ONCE):
        clock.sleep(PATIENCE_S)
        assert not admission.rejects()
        admission.enter()
    assert admission.rejects()  # the limit on all of them, idle or not
    for _ in range(9 * MIN_AT_ONCE):
        admission.idle(-1)
    assert admission.count() == admission.in_flight == 10 * MIN_AT_ONCE


def test_a_guess_is_no_reason_to_reject() -> None:
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000)
    for _ in range(50 * int(1 / FIRST_COST_S)):
        admission.rejects()
    for _ in range(admission.limit + 1):
        assert not admission.rejects()
        admission.enter()


def test_demand_before_the_first_measurement_does_not_count(clock: Clock) -> None:
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000)
    for _ in range(25):
        for _ in range(100):
            admission.rejects()
        clock.answer(admission, SAMPLE_ANSWERS, 0.00001)
        clock.sleep(0.01)
    clock.sleep(3 * MEMORY_S)
    clock.answer(admission, SAMPLE_ANSWERS * 2, 0.0005, waiting=admission.limit)
    for _ in range(2 * admission.limit):
        assert not admission.rejects()
        admission.enter()


def test_requests_that_queued_in_a_pause_are_admitted(clock: Clock) -> None:
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000)
    clock.answer(admission, SAMPLE_ANSWERS * 2, 0.002, waiting=admission.limit)
    # At half of the capacity, 250 a second: those of a pause come all at once.
    for _ in range(6):
        for _ in range(20):
            assert not admission.rejects()
            admission.enter()
        for _ in range(20):
            clock.work(0.002)
            admission.leave()
        clock.sleep(0.04)


def test_more_than_can_be_answered_is_rejected_before_long(clock: Clock) -> None:
    admission = Admission(max_wait_s=0.02, max_in_flight=10_000)
    clock.answer(admission, SAMPLE_ANSWERS * 2, 0.002, waiting=admission.limit)
    begun_s = clock.now_s
    n_answered = n_rejected = 0
    while not n_rejected and clock.now_s - begun_s < PATIENCE_S:
        for _ in range(5):  # five come while one is answered
            if admission.rejects():
                n_rejected += 1
            else:
                admission.enter()
        clock.work(0.002)
        admission.leave()
        n_answered += 1
    assert n_rejected
    assert clock.now_s - begun_s < 0.5 * PATIENCE_S
    assert n_answered > MIN_AT_ONCE


def test_a_queue_that_stays_is_cut_until_it_is_calm(clock: Clock) -> None:
    admission = Admission(max_wait_s=1e-6, max_in_flight=100)
    for _ in range(MIN_AT_ONCE + 2):
        admission.enter()
    assert not admission.rejects()
    clock.sleep(0.99 * PATIENCE_S)
    assert not admission.rejects()
    clock.sleep(0.02 * PATIENCE_S)
    assert admission.rejects()
    admission.leave()
    assert admission.rejects()  # still above the limit
    for _ in range(2):
        admission.leave()
    assert not admission.rejects()
    admission.enter()
    assert admission.rejects()  # no new burst so soon after
    clock.sleep(1.01 * CALM_S)
    admission.leave()
    admission.enter()
    assert not admission.rejects()


def test_the_upper_bound_holds_in_a_burst() -> None:
    admission = Admission(max_wait_s=1.0, max_in_flight=3)
    for _ in range(3):
        assert not admission.rejects()
        admission.enter()
    assert admission.rejects()
    admission.leave()
    assert not admission.rejects()


@pytest.fixture
def service(
    store: EmbeddedStore, synthetic_bundle: Bundle, folder: Path, client: redis.Redis
) -> Iterator[tuple[int, Admission]]:
    """A real server that can hold one request; its port and its admission."""
    publish_and_activate(synthetic_bundle, folder, store.url)
    with listening(settings_for(store.url, folder, max_in_flight=1)) as running:
        yield running.port, running.app.state.service.admission


def talk(port: int, *requests: bytes) -> list[tuple[int, dict[str, str], dict[str, object]]]:
    """Status, headers and document of each answer, all on one connection."""
    answers: list[tuple[int, dict[str, str], dict[str, object]]] = []
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"".join(requests))
        stream = connection.makefile("rb")
        answers += [read_answer(stream) for _ in requests]
    return answers


def test_a_429_is_complete_and_the_connection_goes_on(service: tuple[int, Admission]) -> None:
    port, admission = service
    admission.enter()
    [(status, headers, document)] = talk(port, request("/recommend"))
    assert status == 429
    assert headers["retry-after"] == "1"
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == document["request_id"] == "mine"
    assert document["status"] == 429
    [(ready, _, _)] = talk(port, b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ready == 200
    admission.leave()
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        [(status, _, document)] = talk(port, request("/recommend"))
    assert status == 200
    assert admission.in_flight == 0


def test_a_rejected_connection_can_ask_again(service: tuple[int, Admission]) -> None:
    port, admission = service
    admission.enter()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        for expected in (429, 429, 200):
            if expected == 200:
                admission.leave()
            connection.sendall(request("/recommend"))
            assert int(connection.recv(65536).split()[1]) == expected


def test_a_rejected_connection_closes_when_the_caller_asks(service: tuple[int, Admission]) -> None:
    port, admission = service
    admission.enter()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request("/recommend", b"Connection: close\r\n"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in answer
    admission.leave()


def test_pipelined_requests_are_all_answered(service: tuple[int, Admission]) -> None:
    port, admission = service
    answers = talk(port, *[request("/recommend")] * 4)
    assert [status for status, _, _ in answers] == [200] * 4
    assert admission.in_flight == 0


def test_rejected_requests_are_counted(service: tuple[int, Admission]) -> None:
    port, admission = service
    admission.enter()
    asked_wrongly = b"GET /recommend HTTP/1.1\r\nHost: x\r\n\r\n"
    talk(port, request("/recommend"), asked_wrongly, request("/recommend?a=b"))
    admission.leave()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        metrics = answer.read().decode()
    assert "longtail_overload_total 3.0" in metrics
    for route, n in (("/recommend", 2), ("other", 1)):
        labels = f'arm="",model="",route="{route}",served_by="",status="429",version=""'
        assert f"longtail_requests_total{{{labels}}} {n}.0" in metrics
    assert 'longtail_request_seconds_count{arm="",model="",route="/recommend"' not in metrics


def request(path: str, more: bytes = b"") -> bytes:
    body = b'{"history": []}'
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n"
    return head.encode() + more + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def exchange(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_an_answer_without_a_body_leaves_too(service: tuple[int, Admission]) -> None:
    asked = b"HEAD /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, _, body = exchange(service[0], asked).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


def test_bytes_that_are_no_http_get_a_400(service: tuple[int, Admission]) -> None:
    assert exchange(service[0], b"hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_caller_that_expects_100_continue_gets_it(service: tuple[int, Admission]) -> None:
    head, body = request("/recommend", b"Expect: 100-continue\r\n").split(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", service[0]), timeout=5) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
