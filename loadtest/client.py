"""A fast HTTP/1.1 client for benchmarks: plain sockets, keep-alive, one thread, no asyncio.

It must cost much less than the servers it measures, so it does little: whole requests are prepared
beforehand, and answers must have a Content-Length. Asyncio would add some 30 µs a request, and its
timers (like epoll's) count whole milliseconds, as long as the latency to be measured at a thousand
requests/s; `select` takes microseconds.
"""

from __future__ import annotations

import json
import select
import selectors
import socket
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt

from loadtest.errors import TargetError
from loadtest.target import Address

FaultFinder = Callable[[int, bytes, bytes], str | None]
"""Finds the fault of an answer (status, head, body), None if it has none."""

RECEIVE_BYTES = 256 * 1024
ANSWER_TIMEOUT_S = 10.0


def encode_post(address: Address, path: str, body: object) -> bytes:
    """A whole POST request with a JSON body, ready to be sent."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


@dataclass
class Sample:
    """Measurements of one stretch of load. The arrays are parallel, in the order of the answers.

    Latencies count from the intended start, service times from the moment of sending. A status of 0
    means that no answer came.
    """

    latencies: array[float] = field(default_factory=lambda: array("d"))  # ms
    services: array[float] = field(default_factory=lambda: array("d"))  # ms
    starts: array[float] = field(default_factory=lambda: array("d"))  # s, perf_counter
    statuses: array[int] = field(default_factory=lambda: array("H"))
    waits: array[int] = field(default_factory=lambda: array("B"))  # 1: no connection when due
    faults: Counter[str] = field(default_factory=Counter)
    n_given_up: int = 0  # found no free connection for too long, and were never sent
    begun_s: float = 0.0
    elapsed_s: float = 0.0
    client_cpu_s: float = 0.0

    @property
    def latencies_ms(self) -> npt.NDArray[np.float64]:
        """Latencies of all answered requests, float64 [n], in order of their answers."""
        return np.asarray(self.latencies, dtype=np.float64)

    @property
    def services_ms(self) -> npt.NDArray[np.float64]:
        """The same from the moment of sending: the service's part, without the client's."""
        return np.asarray(self.services, dtype=np.float64)

    @property
    def lateness_ms(self) -> npt.NDArray[np.float64]:
        """How long after its intended start each request was sent, float64 [n].

        Where a connection was free, that is the client's own fault.
        """
        return self.latencies_ms - self.services_ms

    @property
    def had_connection(self) -> npt.NDArray[np.bool_]:
        """Whether a connection was free when the request was due, bool [n]."""
        return np.logical_not(np.asarray(self.waits, dtype=np.bool_))

    @property
    def starts_s(self) -> npt.NDArray[np.float64]:
        """Intended starts in seconds after the beginning, float64 [n]."""
        return np.asarray(self.starts, dtype=np.float64) - self.begun_s

    @property
    def n_failed(self) -> int:
        """Requests with a wrong answer or none."""
        return self.faults.total()

    @property
    def rps(self) -> float:
        """Answers a second, failed ones not counted."""
        return max(0, len(self.latencies) - self.n_failed) / self.elapsed_s

    @property
    def client_cpu_share(self) -> float:
        """How busy this client was, of one core: near 1 the client is the limit."""
        return self.client_cpu_s / self.elapsed_s


class Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.intended_s = 0.0
        self.sent_s = 0.0
        self.waited = False
        self._connect()

    def _connect(self) -> None:
        try:
            self.socket = socket.create_connection(
                (self._address.host, self._address.port), timeout=ANSWER_TIMEOUT_S
            )
        except OSError as error:
            raise TargetError(f"{self._address.url} does not answer ({error})") from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._received = b""

    def send(self, request: bytes, intended_s: float, *, waited: bool = False) -> None:
        """Send a whole request; its latency counts from `intended_s` (perf_counter).

        `waited` marks a request that was due while no connection was free.
        """
        self.intended_s = intended_s
        self.waited = waited
        self.sent_s = time.perf_counter()
        n_sent = self.socket.send(request)
        if n_sent < len(request):  # larger than the socket's buffer
            self.socket.settimeout(ANSWER_TIMEOUT_S)
            self.socket.sendall(request[n_sent:])
            self.socket.setblocking(False)

    def receive(self) -> tuple[int, bytes, bytes] | None:
        """Status, head and body once the answer is whole, None before.

        Raises:
            OSError: the connection was closed or broke.
            ValueError: the answer is not HTTP/1.1 with a Content-Length.
        """
        try:
            chunk = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        if not chunk:
            raise ConnectionResetError("closed by the server")
        self._received = self._received + chunk if self._received else chunk
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        body_start = head_end + 4
        n_missing = body_start + self._content_length(head_end) - len(self._received)
        if n_missing > 0:
            return None
        if n_missing < 0:
            raise ValueError("more bytes than the answer should have")
        received = self._received
        answer = int(received[9:12]), received[:head_end], received[body_start:]
        self._received = b""
        return answer

    def _content_length(self, head_end: int) -> int:
        head = self._received[:head_end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            raise ValueError("the answer has no Content-Length")
        line_end = head.find(b"\r\n", at + 2)
        return int(head[at + 17 : line_end if line_end > 0 else head_end])

    def reconnect(self) -> None:
        """Open a new connection after a failure."""
        self.socket.close()
        self._connect()


class Load:
    """Connections to a service, and the loop that drives them; use as a context manager.

    Args:
        address: of the service.
        n_connections: open all the time.
        others: services that answer the same requests; connections go to all alike.
    """

    def __init__(self, address: Address, n_connections: int, *others: Address) -> None:
        self._selector = selectors.DefaultSelector()
        self._connections: list[Connection] = []
        for one in islice(cycle((address, *others)), n_connections):
            connection = Connection(one)
            self._connections.append(connection)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.socket.close()
        self._selector.close()

    def saturate(
        self, requests: Sequence[bytes], duration_s: float, find_fault: FaultFinder
    ) -> Sample:
        """Each connection sends its next request as soon as it has its answer (closed loop).

        Gives throughput. With one connection it also gives the latency of an idle service.
        """
        begun_s, cpu_s = time.perf_counter(), time.thread_time()
        sample, coming = Sample(begun_s=begun_s), cycle(requests)
        end_s = begun_s + duration_s
        for connection in self._connections:
            connection.send(next(coming), time.perf_counter())
        under_way = set(self._connections)
        while under_way:
            for connection in self._answered(under_way, ANSWER_TIMEOUT_S, sample, find_fault):
                now_s = time.perf_counter()
                if now_s < end_s:
                    connection.send(next(coming), now_s)
                    under_way.add(connection)
        sample.elapsed_s = time.perf_counter() - begun_s
        sample.client_cpu_s = time.thread_time() - cpu_s
        return sample

    def keep_pace(
        self,
        requests: Sequence[bytes],
        starts_s: Iterable[float],
        find_fault: FaultFinder,
        *,
        give_up_s: float | None = None,
    ) -> Sample:
        """Start requests at intended times, independent of the answers (open loop).

        A request that finds no free connection waits for one, and its latency keeps counting.
        Once it has waited for `give_up_s` it is not sent at all, and counted in `n_given_up`.
        """
        begun_s, cpu_s = time.perf_counter(), time.thread_time()
        sample, coming = Sample(begun_s=begun_s), cycle(requests)
        starts = iter(starts_s)
        next_start_s = next(starts, None)
        # First in, first out: every connection stays in use, so none is closed as idle.
        idle, under_way = deque(self._connections), set[Connection]()
        waiting: deque[tuple[float, bool]] = deque()
        while next_start_s is not None or waiting or under_way:
            now_s = time.perf_counter() - begun_s
            while next_start_s is not None and next_start_s <= now_s:
                waiting.append((begun_s + next_start_s, len(waiting) >= len(idle)))
                next_start_s = next(starts, None)
            while waiting and idle:
                connection = idle.popleft()
                start_s, waited = waiting.popleft()
                connection.send(next(coming), start_s, waited=waited)
                under_way.add(connection)
            while waiting and give_up_s is not None and now_s + begun_s - waiting[0][0] > give_up_s:
                waiting.popleft()
                sample.n_given_up += 1
            wait_s = ANSWER_TIMEOUT_S
            if next_start_s is not None:
                wait_s = max(0.0, next_start_s - (time.perf_counter() - begun_s))
            if under_way:
                idle.extend(self._answered(under_way, wait_s, sample, find_fault))
            elif wait_s > 0:
                time.sleep(wait_s)
        sample.elapsed_s = time.perf_counter() - begun_s
        sample.client_cpu_s = time.thread_time() - cpu_s
        return sample

    def _answered(
        self,
        under_way: set[Connection],
        wait_s: float,
        sample: Sample,
        find_fault: FaultFinder,
    ) -> Iterator[Connection]:
        """Connections that are free again, after waiting for the first at most `wait_s`."""
        # The selector's own wait is in whole milliseconds; select's is not.
        if not select.select([self._selector], [], [], wait_s)[0]:
            yield from self._timeouts(under_way, sample)
            return
        for key, _ in self._selector.select(0):
            connection: Connection = key.data
            try:
                answer = connection.receive()
            except (OSError, ValueError) as error:
                fault: str | None = f"no answer: {error}"
                status = 0
                self._replace(connection)
            else:
                if answer is None:
                    continue
                status = answer[0]
                fault = find_fault(*answer)
            if connection in under_way:
                under_way.remove(connection)
                self._record(connection, sample, status, fault)
                yield connection

    def _timeouts(self, under_way: set[Connection], sample: Sample) -> Iterator[Connection]:
        now_s = time.perf_counter()
        for connection in [c for c in under_way if now_s - c.sent_s > ANSWER_TIMEOUT_S]:
            under_way.remove(connection)
            self._record(connection, sample, 0, f"no answer within {ANSWER_TIMEOUT_S:g} s")
            self._replace(connection)
            yield connection

    def _replace(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.reconnect()
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    @staticmethod
    def _record(connection: Connection, sample: Sample, status: int, fault: str | None) -> None:
        now_s = time.perf_counter()
        sample.latencies.append((now_s - connection.intended_s) * 1_000)
        sample.services.append((now_s - connection.sent_s) * 1_000)
        sample.starts.append(connection.intended_s)
        sample.statuses.append(status)
        sample.waits.append(connection.waited)
        if fault is not None:
            sample.faults[fault] += 1
