"""Several workers behind one port: swapped, replaced and counted together."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.overload.demand import FIRST_COST_S
from model_store.bundle import Bundle
from model_store.publication import publish
from model_store.registry import Registry
from model_store.store import connect
from tests.app.conftest import wait_for
from tests.app.running import Load, Running, serving
from tests.synthetic_bundle import make_bundle, make_catalogue

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_workers(
    synthetic_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("two")
    with serving(folder, synthetic_bundle.folder, "--workers", "2") as running:
        yield running
    assert "Traceback" not in running.log


def test_two_workers_swap_together_and_count_together(two_workers: Running, tmp_path: Path) -> None:
    running = two_workers

    def metric(line: str) -> float:
        text = running.ask("GET", "/metrics")[1]
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    wait_for(lambda: metric('longtail_model_workers{model="default",version="made-1"}') == 2)
    # Nothing is learnt of the cost of an answer while nobody waits.
    assert metric("longtail_in_flight_limit") == 2 * int(0.02 / FIRST_COST_S)
    for _ in range(20):
        running.ask("POST", "/recommend", {"user_id": "u1"})
    line = (
        'longtail_requests_total{arm="",model="default",route="/recommend",served_by="model",status="200",'
        'version="made-1"}'
    )
    # An answer is counted once it is sent, and the other worker may be asked for the metrics.
    wait_for(lambda: metric(line) >= 20)
    assert metric(line) == 20
    second = make_bundle(tmp_path / "two", version="made-2", catalogue=make_catalogue(seed=8))
    with connect(running.store_url()) as client:
        publish(second, Path(running.environment["LONGTAIL_BUNDLES_DIR"]), client)
        assert Registry(client).active() == "made-1"
    assert running.ask("POST", "/admin/models/made-2/activate")[0] == 200
    wait_for(lambda: metric('longtail_model_workers{model="default",version="made-2"}') == 2)
    versions = {
        running.ask("POST", "/recommend", {"user_id": "u1"})[1]["model_version"] for _ in range(20)
    }
    assert versions == {"made-2"}


@pytest.mark.alone
def test_rules_are_live_at_both_workers_within_a_second(two_workers: Running) -> None:
    """While others ask: each of many answers that begin a second after the change follows it."""
    running = two_workers

    def ids_of(**body: object) -> list[str]:
        answer = running.ask("POST", "/recommend", {"user_id": "u2", "k": 5, **body})[1]
        return [item["item_id"] for item in answer["items"]]

    base = ids_of()
    rules: list[tuple[dict[str, object], Callable[[list[str]], bool]]] = [
        ({"action": "hide", "item_ids": base[:2]}, lambda ids: not set(ids) & set(base[:2])),
        ({"action": "pin", "item_id": base[4], "rank": 1}, lambda ids: ids[0] == base[4]),
        ({"action": "bury", "item_ids": base[:1], "factor": 1e6}, lambda ids: base[0] not in ids),
    ]

    def seconds(*wanted: dict[str, object]) -> float:
        started = time.monotonic()
        assert running.ask("PUT", "/admin/rules", {"rules": wanted})[0] == 200
        return time.monotonic() - started

    def put(*wanted: dict[str, object]) -> None:
        """In time; of a change that a pause of the machine held up, the next two have to be."""
        if seconds(*wanted) >= 1:
            another = {"name": "y", "action": "bury", "item_ids": base[:1], "factor": 2}
            assert max(seconds(another), seconds(*wanted)) < 1

    with Load(running.port, reconnects=True) as load:
        for rule, holds in rules:
            put({"name": "x", **rule})
            # The answer says that all follow it; connections go to either worker.
            assert all(holds(ids_of()) for _ in range(20))
        put()
        assert all(ids_of() == base for _ in range(20))
    assert {status for status, _ in load.answers} == {200}


def test_a_killed_worker_is_replaced_and_named(two_workers: Running) -> None:
    killed, other = two_workers.workers()
    killed.kill()
    with Load(two_workers.port, reconnects=True) as load:
        wait_for(lambda: two_workers.workers()[0] == other and len(two_workers.workers()) == 2)
    assert {status for status, _ in load.answers} == {200}
    assert f"worker {killed.pid} ended with exit code -9" in two_workers.log


def test_sighup_replaces_every_worker_without_a_failure(two_workers: Running) -> None:
    before = set(two_workers.workers())
    with Load(two_workers.port, reconnects=True) as load:
        two_workers.process.send_signal(signal.SIGHUP)
        wait_for(lambda: not before & set(two_workers.workers()))
    assert {status for status, _ in load.answers} == {200}
    assert len(two_workers.workers()) == 2
    assert two_workers.log.count("ended with exit code") == two_workers.log.count("code -9")


def test_a_worker_that_is_killed_while_the_active_version_is_damaged_takes_nothing_down(
    two_workers: Running, tmp_path: Path
) -> None:
    bundles = Path(two_workers.environment["LONGTAIL_BUNDLES_DIR"])
    client = connect(two_workers.store_url())
    good = Registry(client).active()
    bad = make_bundle(tmp_path / "bad", version="bad-1", catalogue=make_catalogue(seed=12))
    publish(bad, bundles, client)
    (bundles / "bad-1" / "popularity.npy").write_bytes(b"damaged")
    Registry(client).activate("bad-1")
    wait_for(lambda: two_workers.log.count("bad-1 can't be loaded") == 2)
    two_workers.workers()[0].kill()
    answers = []

    def has_another() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):  # it was with the killed one
            answers.append(two_workers.ask("POST", "/recommend", {"user_id": "u1", "k": 5}))
        return f"going on with version {good}" in two_workers.log

    wait_for(has_another, 60)
    assert {status for status, _ in answers} == {200}
    assert {answer["model_version"] for _, answer in answers} == {good}
    assert two_workers.process.poll() is None
    Registry(client).rollback()
    client.close()
