"""What `/metrics` tells beyond counts of requests."""

from __future__ import annotations

import asyncio
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import redis
from starlette.testclient import TestClient

from app.store.journal import Journal
from model_store.bundle import Bundle
from model_store.codecs import Event
from model_store.embedded import EmbeddedStore
from model_store.publication import publish
from model_store.registry import Registry
from tests.app.conftest import publish_and_activate, serving, settings_for, wait_for
from tests.synthetic_bundle import make_bundle

DEFAULT, MADE = 'arm="",model="default"', 'version="made-1"'
BATCH = 'route="/recommend/batch"'


def metric(http: TestClient, line: str) -> float | None:
    found = re.search(rf"^{re.escape(line)} (\S+)$", http.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else None


def test_each_request_of_a_batch_counts(http: TestClient) -> None:
    requests = [{"user_id": "u1"}, {"user_id": "u2"}, {"history": ["never heard of"]}, {"k": 0}]
    lines = {
        f'longtail_batch_entries_total{{{DEFAULT},served_by="model",status="200",{MADE}}}': 2,
        f'longtail_batch_entries_total{{{DEFAULT},served_by="popular",status="200",{MADE}}}': 1,
        f'longtail_batch_entries_total{{{DEFAULT},served_by="",status="422",{MADE}}}': 1,
        f'longtail_requests_total{{{DEFAULT},{BATCH},served_by="",status="200",{MADE}}}': 1,
        f"longtail_request_seconds_count{{{DEFAULT},{BATCH},{MADE}}}": 1,
    }
    before = {line: metric(http, line) or 0.0 for line in lines}
    assert http.post("/recommend/batch", json={"requests": requests}).status_code == 200
    assert {line: (metric(http, line) or 0.0) - before[line] for line in lines} == lines


def test_a_models_age_and_what_runs_are_there(http: TestClient) -> None:
    created = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # as the synthetic bundle says
    assert metric(http, "longtail_model_created_timestamp_seconds") == created
    python = platform.python_version()
    assert f'longtail_build_info{{python="{python}",version="' in http.get("/metrics").text


def test_a_version_that_cannot_be_loaded_is_there_until_it_is_not_wanted(
    synthetic_bundle: Bundle,
    store: EmbeddedStore,
    client: redis.Redis,
    folder: Path,
    tmp_path: Path,
) -> None:
    lying = make_bundle(tmp_path / "lying", version="lying", with_wrong_golden=True)
    publish_and_activate(synthetic_bundle, folder, store.url)
    publish(lying, folder / "bundles", client)
    line = 'longtail_rejected_version{version="lying"}'
    with serving(settings_for(store.url, folder)) as http:
        assert metric(http, line) is None
        Registry(client).activate("lying")
        wait_for(lambda: metric(http, line) == 1)
        Registry(client).activate("made-1")
        wait_for(lambda: metric(http, line) == 0)


def test_a_journal_tells_how_many_events_wait(tmp_path: Path) -> None:
    waiting: list[int] = []

    async def keep(events: object) -> set[str]:
        return {"u2"}

    async def run() -> None:
        journal = Journal(tmp_path, waiting.append)
        await journal.append({"u1": [Event("i1", 1.0, None), Event("i2", 2.0, None)]})
        await journal.append({"u1": [Event("i3", 3.0, None)], "u2": [Event("i1", 1.0, None)]})
        await journal.replay(keep)
        journal.close()

    asyncio.run(run())
    assert waiting == [2, 4, 1]


def test_events_that_a_journal_drops_are_not_counted(tmp_path: Path) -> None:
    from model_store import keys

    waiting: list[int] = []
    n_events = 2 * keys.MAX_EVENTS_PER_USER + 1

    async def run() -> None:
        journal = Journal(tmp_path, waiting.append)
        await journal.append({"u1": [Event("i1", float(n), None) for n in range(n_events)]})
        assert len(journal.of_user("u1")) == waiting[-1] == keys.MAX_EVENTS_PER_USER
        journal.close()

    asyncio.run(run())
