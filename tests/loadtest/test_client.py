"""The benchmark's own client, against servers of plain sockets that misbehave on purpose."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from loadtest import client
from loadtest.client import Load, encode_post
from loadtest.errors import TargetError
from loadtest.pacing import Arrivals
from loadtest.target import Address

pytestmark = pytest.mark.alone

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: x\r\nContent-Length: 5\r\n\r\nhello"
MAX_TRIES = 5
Handler = Callable[[socket.socket, bytes], None]


def expect_hello(status: int, _head: bytes, body: bytes) -> str | None:
    return None if (status, body) == (200, b"hello") else f"{status} {body!r}"


@contextmanager
def serving(handle: Handler) -> Iterator[Address]:
    """A server with a thread for each connection; `handle` gets each request."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_connection(connection: socket.socket) -> None:
        with connection:
            try:
                while request := connection.recv(1 << 20):
                    handle(connection, request)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve_connection, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield Address(*listener.getsockname())
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def answer_at_once(connection: socket.socket, _: bytes) -> None:
    connection.sendall(ANSWER)


def test_saturation_counts_every_answer_once() -> None:
    with serving(answer_at_once) as address, Load(address, 4) as load:
        sample = load.saturate([encode_post(address, "/x", {})], 0.3, expect_hello)
    assert sample.n_failed == 0
    assert len(sample.latencies) == pytest.approx(sample.rps * sample.elapsed_s)
    assert len(sample.latencies) > 100
    assert 0 < sample.client_cpu_share <= 1.05


def test_an_answer_in_pieces_is_put_together() -> None:
    def dribble(connection: socket.socket, _: bytes) -> None:
        for at in range(0, len(ANSWER), 20):
            connection.sendall(ANSWER[at : at + 20])
            time.sleep(0.002)

    with serving(dribble) as address, Load(address, 2) as load:
        sample = load.saturate([encode_post(address, "/x", {})], 0.6, expect_hello)
    assert len(sample.latencies) > 5
    assert sample.n_failed == 0


def test_requests_larger_than_the_socket_buffer_arrive_whole() -> None:
    wanted = 8 << 20
    got = [0]

    def swallow(connection: socket.socket, request: bytes) -> None:
        got[0] += len(request)
        if got[0] >= wanted:
            got[0] = 0
            connection.sendall(ANSWER)

    with serving(swallow) as address, Load(address, 1) as load:
        request = encode_post(address, "/x", {"history": "x" * (wanted - 200)})
        sample = load.saturate([request.ljust(wanted)], 0.1, expect_hello)
    assert len(sample.latencies) >= 1
    assert sample.n_failed == 0


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "no answer: closed by the server"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no answer: the answer has no Content-Length"),
        (b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno", "503 b'no'"),
        (ANSWER + b"more", "no answer: more bytes than the answer should have"),
    ],
)
def test_a_bad_answer_is_a_fault_and_load_goes_on(answer: bytes, fault: str) -> None:
    numbers = iter(range(10**9))

    def misbehave_at_times(connection: socket.socket, _: bytes) -> None:
        if next(numbers) % 5:
            connection.sendall(ANSWER)
        elif answer:
            connection.sendall(answer)
        else:
            connection.shutdown(socket.SHUT_RDWR)

    with serving(misbehave_at_times) as address, Load(address, 1) as load:
        sample = load.saturate([encode_post(address, "/x", {})], 0.2, expect_hello)
    assert set(sample.faults) == {fault}
    assert sample.n_failed == pytest.approx(len(sample.latencies) / 5, abs=1)
    assert sample.rps * sample.elapsed_s == pytest.approx(len(sample.latencies) - sample.n_failed)


@pytest.mark.parametrize("paced", [True, False])
def test_an_answer_that_never_comes_is_a_fault_in_bounded_time(
    paced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_TIMEOUT_S", 0.2)
    with serving(lambda *_: None) as address, Load(address, 2) as load:
        requests = [encode_post(address, "/x", {})]
        begun_s = time.perf_counter()
        if paced:
            sample = load.keep_pace(requests, [0.0, 0.1], expect_hello)
        else:
            sample = load.saturate(requests, 0.1, expect_hello)
        assert time.perf_counter() - begun_s < 2.0
    assert dict(sample.faults) == {"no answer within 0.2 s": 2}


def test_a_missing_server_gives_one_clear_line() -> None:
    with serving(answer_at_once) as address:
        pass
    with pytest.raises(TargetError, match="does not answer"):
        Load(address, 1)


def test_intended_starts_are_kept_to_a_fraction_of_a_millisecond() -> None:
    sent_s: list[float] = []

    def note(connection: socket.socket, _: bytes) -> None:
        sent_s.append(time.perf_counter())
        connection.sendall(ANSWER)

    starts = list(Arrivals(200, 1.0, kind="constant").of_user(0))
    # Of a few tries the best: on a quiet machine any is, with 0.1 ms.
    for _ in range(MAX_TRIES):
        sent_s.clear()
        with serving(note) as address, Load(address, 8) as load:
            begun_s = time.perf_counter()
            sample = load.keep_pace([encode_post(address, "/x", {})], starts, expect_hello)
        assert len(sample.latencies) == 200
        early = [at - begun_s - start for at, start in zip(sorted(sent_s), starts, strict=True)]
        assert min(early) >= 0
        if np.median(early) < 2e-3:
            break
    assert float(np.median(early)) < 2e-3


def test_a_stall_shows_in_the_latency_of_every_request_that_was_due_in_it() -> None:
    """The proof that nothing is omitted: 400 rps, a stall of .5 s, far fewer connections."""
    stall_s, rate = 0.5, 400
    lock, begun = threading.Lock(), [0.0]

    def stall_once(connection: socket.socket, _: bytes) -> None:
        with lock:  # all connections stall together, as in a process that hangs
            begun[0] = begun[0] or time.perf_counter()
            if 0.3 < time.perf_counter() - begun[0] < 0.3 + stall_s:
                time.sleep(begun[0] + 0.3 + stall_s - time.perf_counter())
            connection.sendall(ANSWER)

    requests = [b"POST / HTTP/1.1\r\n\r\n"]
    with serving(stall_once) as address, Load(address, 4) as load:
        starts = Arrivals(rate, 1.25, kind="constant").of_user(0)
        paced = load.keep_pace(requests, starts, expect_hello)
    begun[0] = 0.0
    with serving(stall_once) as address, Load(address, 4) as load:
        closed = load.saturate(requests, 1.25, expect_hello)

    assert len(paced.latencies) == 500
    late_ms = np.sort(paced.latencies_ms[paced.latencies_ms > 100])
    # Due during the stall: 200 requests, of which those of its last 100 ms waited less.
    # (More where the machine is busy.)
    assert 155 <= len(late_ms) <= 250
    # They waited from all of it to nothing of it, evenly.
    assert late_ms[-1] > 470
    assert 250 < float(np.median(late_ms)) < 400
    assert float(np.percentile(paced.latencies_ms, 99)) > 450
    # A closed loop sees the same stall once for each connection and calls the service fast.
    assert np.count_nonzero(closed.latencies_ms > 100) < 20
    assert float(np.percentile(closed.latencies_ms, 99)) < 100


def test_a_request_without_a_connection_for_too_long_is_given_up_and_counted() -> None:
    def dawdle(connection: socket.socket, _: bytes) -> None:
        time.sleep(0.3)
        connection.sendall(ANSWER)

    # Of a few tries the first that nothing else on the machine held up for tens of milliseconds.
    for _ in range(MAX_TRIES):
        with serving(dawdle) as address, Load(address, 1) as load:
            requests, starts_s = [encode_post(address, "/x", {})], [0.0, 0.05, 0.1, 0.25]
            sample = load.keep_pace(requests, starts_s, expect_hello, give_up_s=0.1)
        if max(sample.services_ms) < 320 and max(sample.lateness_ms) < 80:
            break
    # The first is sent at once, the last finds the connection free again soon enough.
    assert (len(sample.latencies), sample.n_given_up) == (2, 2)
    assert sample.had_connection.tolist() == [True, False]
    assert sample.n_failed == 0
    assert sample.starts_s.tolist() == pytest.approx([0.0, 0.25], abs=1e-6)
    assert list(sample.statuses) == [200, 200]
    # Waiting for the connection is lateness, and not the service's time.
    assert sample.lateness_ms[0] < 20
    assert 30 < sample.lateness_ms[1] < 100
    assert sample.services_ms.tolist() == pytest.approx([300, 300], abs=40)


def test_the_head_of_an_answer_is_there_to_be_judged() -> None:
    rejection = b"HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    seen: list[tuple[int, bytes, bytes]] = []

    def note(status: int, head: bytes, body: bytes) -> None:
        seen.append((status, head, body))

    with (
        serving(lambda connection, _: connection.sendall(rejection)) as address,
        Load(address, 1) as load,
    ):
        sample = load.keep_pace([encode_post(address, "/x", {})], [0.0], note)
    assert seen == [(429, rejection[:-4], b"")]
    assert list(sample.statuses) == [429]
