"""`longtail rerank` as people run it: a process, a real store, a real service afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

import longtail
from app.rerank_command import Share
from app.reranking.client import RerankClient
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import wait_for
from tests.app.reranking.conftest import ask, serving
from tests.app.reranking.endpoint import Asked, Pieces, Server, response
from tests.app.reranking.endpoint import serving as endpoint
from tests.app.running import LONGTAIL
from tests.synthetic_bundle import GENRES, Catalogue, make_bundle, make_catalogue

pytestmark = pytest.mark.slow

PAUSE_S = 0.15
ONE_BY_ONE = ("--users", "all", "--in-flight", "1")


def environment_for(url: str, folder: Path) -> dict[str, str]:
    return {
        "LONGTAIL_REDIS_URL": url,
        "LONGTAIL_BUNDLES_DIR": str(folder / "bundles"),
        "LONGTAIL_STORE_DIR": str(folder / "store"),
    }


@contextmanager
def started(
    url: str, folder: Path, *flags: str, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """The command, just started."""
    environment = os.environ | environment_for(url, folder) | variables
    with subprocess.Popen(
        [sys.executable, str(LONGTAIL), "rerank", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def precompute(url: str, folder: Path, *flags: str, **variables: str) -> tuple[int, str, str]:
    """Run the command: (exit status, stdout, stderr)."""
    with started(url, folder, *flags, **variables) as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def numbers(out: str) -> tuple[int, int, int]:
    """Users asked about, skipped and failed."""
    found = re.match(r"asked ([\d,]+), skipped ([\d,]+) \(.*\), failed ([\d,]+)", out)
    assert found, out
    asked, skipped, failed = (int(number) for number in found.groups())
    return asked, skipped, failed


def n_cached(url: str, version: str = "rerank-1") -> int:
    with connect(url) as client:
        return int(client.hlen(keys.rerank_key(version)))


def by_endpoint(server: Server) -> dict[str, str]:
    return {"LONGTAIL_RERANK_URL": server.url, "LONGTAIL_RERANK_API": "rerank"}


def scored(asked: Asked) -> Pieces:
    """Scores of a cross-encoder, after a while."""
    n_documents = len(asked.body["documents"])
    results = [{"index": n, "relevance_score": n / 10} for n in range(n_documents)]
    return [PAUSE_S, *response({"results": results})]


def test_first_requests_find_their_answers(
    url: str, folder: Path, socket: Path, rerank_bundle: Bundle, catalogue: Catalogue
) -> None:
    """Also those of users with events since, in a catalogue with fresh items."""
    vectors = np.eye(len(GENRES), dtype=np.float32)
    fresh = [FreshItem(f"fresh{n}", vector, {}) for n, vector in enumerate(vectors)]
    with connect(url) as client:
        publish_fresh(fresh, client, encoder="made")
    lengths = {user: len(items) for user, items in catalogue.histories.items()}
    grown = min(lengths, key=lengths.__getitem__)
    with serving(RerankClient(socket), url, folder) as http:
        wait_for(lambda: "fresh0" in http.get("/items/i1/similar?k=1000").text)
        http.post("/events", json={"user_id": grown, "item_id": "fresh1"})
        lengths[grown] += 1
        status, out, err = precompute(url, folder, "--bundle", str(rerank_bundle.folder))
        assert rerank_bundle.manifest.reranker is not None
        is_tail = rerank_bundle.manifest.reranker.weighting.is_tail
        tail = [user for user, length in lengths.items() if is_tail(length)]
        assert grown in tail
        assert (status, numbers(out)) == (0, (len(tail), 0, 0)), err
        assert f"{len(tail)} tail users of 12 users" in err
        for user in lengths:
            answer = ask(http, user_id=user, k=10)
            assert (answer["rerank"] == "cached") == (user in tail)
        again = precompute(url, folder)
        assert (again[0], numbers(again[1])) == (0, (0, len(tail), 0))


def test_those_with_the_fewest_interactions_are_asked_about_first(
    url: str, folder: Path, socket: Path, catalogue: Catalogue
) -> None:
    """As many as the cache keeps; all users' answers are for requests with `always`."""
    _, out, err = precompute(url, folder, "--users", "all", LONGTAIL_RERANK_CACHE_ENTRIES="3")
    assert numbers(out) == (3, 0, 0)
    [line] = [line for line in err.splitlines() if "LONGTAIL_RERANK_CACHE_ENTRIES" in line]
    assert "12 users with a history of 12 users; the cache keeps 3 answers" in line
    assert numbers(precompute(url, folder)[1]) == (0, 3, 0)
    assert numbers(precompute(url, folder, "--users", "all", "--limit", "5")[1]) == (5, 3, 0)
    by_length = sorted(catalogue.histories, key=lambda user: len(catalogue.histories[user]))
    with serving(RerankClient(socket), url, folder) as http:
        for n, user in enumerate(by_length):
            answer = ask(http, user_id=user, rerank="always")
            assert (answer["rerank"] == "cached") == (n < 8)


def test_shares_on_an_engine_leave_the_answers_of_one_command(
    url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def answers() -> dict[bytes, bytes]:
        """Without the second of each."""
        with connect(url) as client:
            found = client.hgetall(keys.rerank_key("rerank-1"))
            client.delete(keys.rerank_key("rerank-1"), keys.rerank_times_key("rerank-1"))
        return {digest: blob[:4] + blob[8:] for digest, blob in found.items()}

    assert numbers(precompute(url, folder, "--users", "all")[1]) == (12, 0, 0)
    alone = answers()
    for name, value in environment_for(url, folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(folder / "cache"))
    command = ["rerank-all", "--users", "all", "--processes", "2", "--shares", "2"]
    assert longtail.main(command) == 0
    assert capsys.readouterr().out.startswith("asked 12, skipped 0, failed 0; 2 shares in ")
    assert answers() == alone
    assert len(alone) == 12
    monkeypatch.setenv("LONGTAIL_RERANK_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LONGTAIL_RERANK", "off")
    assert longtail.main([*command, "--processes", "1"]) == 1
    [*_, line] = capsys.readouterr().err.splitlines()
    assert line.startswith("longtail rerank-all: share 1/2: LONGTAIL_RERANK=off")
    assert [*(folder / "cache" / "rerank-all").iterdir()] == []


def test_every_user_is_of_one_share() -> None:
    shares = [Share(number, 7) for number in range(1, 8)]
    for user_id in (f"u{number}" for number in range(500)):
        assert sum(share.holds(user_id) for share in shares) == 1


def test_a_killed_run_is_resumed_and_a_killed_reranker_replaced(url: str, folder: Path) -> None:
    may_answer = iter([True] * 4)
    is_killed = threading.Event()

    def answer(asked: Asked) -> Pieces:
        """However busy the machine is, the kill comes before the next answer."""
        if not next(may_answer, False):
            is_killed.wait(60)
        return scored(asked)

    with endpoint(answer) as server:
        variables = by_endpoint(server)
        with started(url, folder, *ONE_BY_ONE, **variables) as process:
            wait_for(lambda: n_cached(url) >= 2, 60)
            [child] = psutil.Process(process.pid).children()
            process.kill()
            process.wait()
            assert child.wait(60) is not None or not child.is_running()
        kept = n_cached(url)
        assert 2 <= kept <= 4
        may_answer = iter([True] * 4)
        with started(url, folder, *ONE_BY_ONE, **variables) as process:
            wait_for(lambda: n_cached(url) > kept, 60)
            [child] = psutil.Process(process.pid).children()
            assert "app.reranking.process" in child.cmdline()
            child.kill()
            is_killed.set()
            out, err = process.communicate(timeout=60)
    assert (process.returncode, numbers(out)) == (0, (12 - kept, kept, 0)), err
    assert n_cached(url) == 12
    assert list((folder / "store").glob("longtail-rerank-*")) == []


def test_some_failures_are_counted_and_asked_again(url: str, folder: Path) -> None:
    n_answers = iter(range(1_000))

    def answer(asked: Asked) -> Pieces:
        return response({"oops": 1}) if next(n_answers) < 2 else scored(asked)

    with endpoint(answer) as server:
        variables = by_endpoint(server)
        status, out, _ = precompute(url, folder, "--users", "all", **variables)
        assert (status, numbers(out)) == (1, (10, 0, 2))
        assert re.search(r"failed 2 \(the first: .*has no list of results", out)
        status, out, _ = precompute(url, folder, "--users", "all", **variables)
        assert (status, numbers(out)) == (0, (2, 10, 0))


def test_a_share_whose_only_job_fails_ends_no_other(
    url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    n_answers = iter(range(1_000))

    def answer(asked: Asked) -> Pieces:
        return response({"oops": 1}) if next(n_answers) < 3 else scored(asked)

    command = ["rerank-all", "--users", "all", "--processes", "1", "--shares", "2"]
    with endpoint(answer) as server:
        # Of two answers that the cache keeps, each share has one job.
        variables = by_endpoint(server) | {"LONGTAIL_RERANK_CACHE_ENTRIES": "2"}
        variables["LONGTAIL_CACHE_DIR"] = str(folder / "cache")
        for name, value in (environment_for(url, folder) | variables).items():
            monkeypatch.setenv(name, value)
        assert longtail.main(command) == 1
        out, err = capsys.readouterr()
        assert out == ""
        *_, line = err.splitlines()
        assert re.match("longtail rerank-all: none of 2 jobs was answered: .*no list of res", line)
        assert longtail.main(command) == 1
        out = capsys.readouterr().out
        assert re.match(r"asked 1, skipped 0, failed 1 \(the first: .*no list of results", out)
    assert n_cached(url) == 1


def test_a_store_that_ends_meanwhile_ends_the_run(
    rerank_bundle: Bundle, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with EmbeddedStore(tmp_path_factory.mktemp("s")) as own, endpoint(scored) as server:
        with connect(own.url) as client:
            publish(rerank_bundle, folder / "bundles", client)
            Registry(client).activate("rerank-1")
        variables = by_endpoint(server)
        with started(own.url, folder, *ONE_BY_ONE, **variables) as process:
            wait_for(lambda: n_cached(own.url) >= 1, 60)
            own.stop()
            _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.match("longtail rerank: .*store", err.splitlines()[-1]), err
    assert "Traceback" not in err


def test_a_reranker_that_never_answers_ends_the_run(url: str, folder: Path) -> None:
    catalogue = make_catalogue(n_users=30)
    many = make_bundle(folder / "many", version="v2", catalogue=catalogue, with_reranker=True)
    with connect(url) as client:
        publish(many, folder / "bundles", client)
    flags, nowhere = ("--bundle", str(many.folder)), {"LONGTAIL_RERANK_URL": "http://127.0.0.1:1"}
    for users, message in (
        ("tail", r"none of \d jobs was answered: "),
        ("all", "20 jobs in a row"),
    ):
        status, out, err = precompute(url, folder, *flags, "--users", users, **nowhere)
        assert (status, out) == (1, "")
        assert re.match(f"longtail rerank: {message}.*127.0.0.1:1", err.splitlines()[-1]), err
        assert "Traceback" not in err


def test_errors_are_one_line(
    url: str,
    folder: Path,
    rerank_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def error(*flags: str, **variables: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in (environment_for(url, folder) | variables).items():
                patch.setenv(name, value)
            assert longtail.main(["rerank", *flags]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("longtail rerank: ")
        return err

    other = make_bundle(folder / "other", version="v2", catalogue=make_catalogue(seed=8))
    assert "other: it is not published" in error("--bundle", str(other.folder))
    assert str(folder / "nothing") in error("--bundle", str(folder / "nothing"))
    assert "LONGTAIL_RERANK=off" in error(LONGTAIL_RERANK="off")
    assert "127.0.0.1:1" in error(LONGTAIL_REDIS_URL="redis://127.0.0.1:1")
    with connect(url) as client:
        publish(other, folder / "bundles", client)
        assert "version v2 has no reranker" in error("--bundle", str(other.folder))
        client.flushall()
        assert "no version is active" in error()
        assert "is not published" in error("--bundle", str(rerank_bundle.folder))
