"""Bytes on the wire before a request is complete: sizes, times, upgrades."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import inspect
import json
import re
import resource
import socket
import threading
import time
import zlib
from collections.abc import Iterator

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.http.protocol import MAX_HEADER_BYTES, MAX_PIPELINED, MAX_URL_BYTES, LimitedProtocol
from app.http.requests import MAX_BODY_BYTES
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.app.conftest import publish_and_activate, settings_for, wait_for
from tests.app.listening import Listening, listening, post, read_answer

RECEIVE_TIMEOUT_S = 0.6
MAX_FLOODS = 5


@pytest.fixture(scope="module")
def service(
    store: EmbeddedStore, synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Listening]:
    folder = tmp_path_factory.mktemp("protocol")
    with connect(store.url) as client:
        client.flushall()
    publish_and_activate(synthetic_bundle, folder, store.url)
    settings = settings_for(
        store.url, folder, max_in_flight=20, receive_timeout_ms=RECEIVE_TIMEOUT_S * 1e3
    )
    with listening(settings) as running:
        yield running


def check_problem(answer: bytes, status: int) -> str:
    """The detail of the one problem that a connection got before it was closed."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    document = json.loads(body)
    assert document["status"] == status
    assert document["request_id"].encode() in head
    detail: str = document["detail"]
    return detail


def ask(service: Listening, *, timeout: float = 10) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=timeout)
    connection.request("POST", "/recommend", '{"history": ["i1"]}')
    status = connection.getresponse().status
    connection.close()
    return status


def test_incomplete_requests_do_not_delay_others(service: Listening) -> None:
    slow = [service.connect() for _ in range(60)]
    for connection in slow:
        connection.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    begun = time.perf_counter()
    assert [ask(service) for _ in range(5)] == [200] * 5
    assert service.app.state.service.admission.in_flight == 0
    for connection in slow:
        assert "0.6 s" in check_problem(connection.makefile("rb").read(), 408)
        connection.close()
    assert time.perf_counter() - begun > RECEIVE_TIMEOUT_S


def test_a_body_that_trickles_is_cut_off_in_time(service: Listening) -> None:
    with service.connect() as connection:
        connection.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        connection.settimeout(0.05)
        begun, answer = time.perf_counter(), b""
        while not answer and time.perf_counter() - begun < 5:
            connection.sendall(b" ")
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        check_problem(answer, 408)
        assert time.perf_counter() - begun < 2


def test_a_head_that_stops_is_cut_off_in_time(service: Listening) -> None:
    check_problem(service.exchange(b"POST /recommend HTTP/1.1\r\nHost: x\r\n"), 408)


def test_a_body_in_pieces_is_answered(service: Listening) -> None:
    body = b'{"history": [], "interests": "' + b" " * 300_000 + b'funny"}'
    with service.connect() as connection:
        sent = post(body)
        for start in range(0, len(sent), 40_000):
            connection.sendall(sent[start : start + 40_000])
            time.sleep(0.002)
        status, _, document = read_answer(connection.makefile("rb"))
    assert status == 422
    assert document["errors"][0]["field"] == "interests"
    assert service.app.outermost._n_held_bytes == 0


def flood(service: Listening, begin: bytes, piece: bytes, n_bytes: int) -> tuple[bytes, float]:
    """The answer to an endless request, and the longest wait of another one."""
    waits: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            begun = time.perf_counter()
            ask(service)
            waits.append(time.perf_counter() - begun)

    watching = threading.Thread(target=look)
    watching.start()
    answer = b""
    with service.connect() as connection:
        try:
            connection.sendall(begin)
            for _ in range(n_bytes // len(piece)):
                connection.sendall(piece)
            while part := connection.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        finally:
            ended.set()
            watching.join()
    return answer, max(waits)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("begin", "piece", "status"),
    [
        (b"GET /", b"a" * 1_000_000, 414),
        (b"GET / HTTP/1.1\r\nX-Long: ", b"a" * 1_000_000, 431),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 100_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"a" * 300_000, b"a" * 1_000_000, 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 64000000\r\n\r\n", b"a" * 1_000_000, 413),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"8\r\nabcdefgh\r\n" * 100_000,
            413,
        ),
    ],
    ids=["url", "header", "headers", "name", "body", "chunks"],
)
def test_a_request_that_is_too_long_is_rejected_as_it_comes(
    service: Listening, begin: bytes, piece: bytes, status: int
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Of a few tries the shortest: other work on the machine makes single ones longer.
    for _ in range(MAX_FLOODS):
        answer, longest_wait = flood(service, begin, piece, 64_000_000)
        check_problem(answer, status)
        if longest_wait < 1:
            break
    assert longest_wait < 1  # it was 6 to 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_the_limits_of_the_head_are_as_stated(service: Listening) -> None:
    end = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    path = b"/health/live?"
    fits = path + b"a" * (MAX_URL_BYTES - len(path))
    assert service.exchange(b"GET " + fits + end + b"\r\n").startswith(b"HTTP/1.1 200 ")
    assert str(MAX_URL_BYTES) in check_problem(
        service.exchange(b"GET " + fits + b"a" + end + b"\r\n"), 414
    )
    begin = b"GET /health/live" + end + b"a: "
    taken = len(b"host" + b"x" + b"connection" + b"close" + b"a")
    fits = b"b" * (MAX_HEADER_BYTES - taken)
    assert service.exchange(begin + fits + b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert str(MAX_HEADER_BYTES) in check_problem(
        service.exchange(begin + fits + b"b\r\n\r\n"), 431
    )


def test_an_early_answer_is_counted(service: Listening) -> None:
    def count() -> float:
        text = service.exchange(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").decode()
        labels = 'arm="",model="",route="other",served_by="",status="400",version=""'
        found = re.search(rf"requests_total\{{{labels}\}} (\S+)", text)
        return float(found[1]) if found else 0.0

    before = count()
    check_problem(service.exchange(b"hello\r\n\r\n"), 400)
    check_problem(service.exchange(b"CONNECT x:80 HTTP/1.1\r\n\r\n"), 405)
    assert count() == before + 1


def test_a_caller_that_asks_first_is_told_that_a_body_is_too_long(service: Listening) -> None:
    head = b"POST /recommend HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    check_problem(service.exchange(head % (MAX_BODY_BYTES + 1)), 413)


@pytest.mark.parametrize(
    "wish",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n",
    ],
    ids=["h2c", "websocket"],
)
def test_a_wish_to_upgrade_is_ignored(service: Listening, wish: bytes) -> None:
    body = b'{"history": ["i1"], "k": 3}'
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    requests = [
        post(body, more=wish),
        b"POST /recommend HTTP/1.1\r\n" + wish + b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
        b"GET /items/i1/similar?k=3 HTTP/1.1\r\n" + wish + b"\r\n",
        post(body),
    ]
    for pieces in ([b"".join(requests)], requests, [b"%c" % byte for byte in b"".join(requests)]):
        with service.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            stream = connection.makefile("rb")
            for _ in requests:
                status, _, document = read_answer(stream)
                assert (status, len(document["items"])) == (200, 3)


def test_upgrades_without_end_are_cut_off(service: Listening) -> None:
    wish = b"GET /health/live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    answers = service.exchange(wish * 2_000)
    assert 0 < answers.count(b"HTTP/1.1 200") <= MAX_PIPELINED


def test_trailers_are_no_headers(service: Listening) -> None:
    sent = (
        b"POST /recommend HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"f\r\n" + b'{"history": []}' + b"\r\n0\r\nX-Request-ID: trailer\r\n\r\n"
    )
    answer = service.exchange(sent)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"trailer" not in answer


def test_head_and_body_of_an_answer_arrive_together(service: Listening) -> None:
    with service.connect() as connection:
        for _ in range(50):
            connection.sendall(post(b'{"history": ["i1"], "k": 3}'))
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
            assert len(json.loads(body)["items"]) == 3


def test_a_caller_that_reads_late_gets_all_answers(service: Listening) -> None:
    """The server's buffer is full after the first answer, and it waits before the second."""
    one = {"history": ["i1"], "k": 20}
    batch = json.dumps({"requests": [one] * 96}).encode()
    with service.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(post())
        stream = connection.makefile("rb")
        assert read_answer(stream)[0] == 200
        client = connection.getsockname()
        [protocol] = (p for p in service.server.server_state.connections if p.client == client)
        own_end = protocol.transport.get_extra_info("socket")
        own_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(post(batch, path="/recommend/batch"))
        wait_for(lambda: protocol.flow.write_paused)
        connection.sendall(post(json.dumps(one).encode()))
        time.sleep(0.2)
        assert protocol.flow.write_paused
        own_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        assert len(read_answer(stream)[2]["responses"]) == 96
        assert len(read_answer(stream)[2]["items"]) == 20
        connection.sendall(post())
        assert read_answer(stream)[0] == 200


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_a_compressed_body_is_decoded(service: Listening, encoding: str) -> None:
    def send(body: bytes, more: bytes = b"") -> tuple[int, str]:
        compress = zlib.compress if encoding == "deflate" else gzip.compress
        headers = b"Connection: close\r\nContent-Encoding: " + encoding.encode() + b"\r\n"
        answer = service.exchange(post(compress(body) + more, more=headers))
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        return int(answer.split()[1]), document.get("detail", "")

    assert send(b'{"history": ["i1"]}')[0] == 200
    many = json.dumps({"history": ["i1"], "exclude": [f"i{n}" for n in range(9_000)]}).encode()
    assert send(many)[0] == 200
    assert str(MAX_BODY_BYTES) in send(b" " * (MAX_BODY_BYTES + 1))[1]
    assert send(b" " * 100_000_000)[0] == 413
    assert send(b'{"history": []}', b"more")[0] == 422


def test_a_body_of_another_encoding_is_rejected_by_name(service: Listening) -> None:
    headers = b"Connection: close\r\nContent-Encoding: "
    answer = service.exchange(post(more=headers + b"br\r\n"))
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"accept-encoding: gzip, deflate" in answer
    assert b"'br'" in answer
    answer = service.exchange(post(more=headers + b"gzip\r\n"))
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert b"gzip" in answer
    assert service.exchange(post(more=headers + b"identity\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/metrics", "/items/i1/similar", "/openapi.json"]
)
def test_head_is_answered_as_get(service: Listening, path: str) -> None:
    def send(method: str) -> tuple[int, bytes, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        connection.request(method, path)
        response = connection.getresponse()
        status, body = response.status, response.read()
        connection.close()
        return status, body, response.headers["content-type"]

    got, headed = send("GET"), send("HEAD")
    assert got[0] == headed[0] == 200
    assert got[2] == headed[2]
    assert headed[1] == b""


def test_the_parts_of_uvicorn_in_use_exist(service: Listening) -> None:
    """The protocol extends one of uvicorn's own, whose parts may move with any minor release."""
    config = service.server.config
    loop = asyncio.new_event_loop()
    base = HttpToolsProtocol(config, ServerState(), {}, loop)
    loop.close()
    methods = {name for name in vars(LimitedProtocol) if not name.startswith("_")}
    assert methods <= set(dir(base))
    attributes = {
        *("config", "loop", "parser", "transport", "flow", "server_state", "scope", "headers"),
        *("cycle", "pipeline", "expect_100_continue", "timeout_keep_alive"),
        *("timeout_keep_alive_task", "timeout_keep_alive_handler", "_unset_keepalive_if_required"),
    }
    assert attributes <= set(dir(base))
    cycle = set(inspect.signature(RequestResponseCycle).parameters)
    assert {"scope", "transport", "keep_alive", "expect_100_continue"} <= cycle
    used = {
        *("body", "more_body", "response_started", "response_complete", "keep_alive"),
        *("transport", "flow", "disconnected", "default_headers", "message_event", "on_response"),
    }
    assert used <= set(RequestResponseCycle.__init__.__code__.co_names)
