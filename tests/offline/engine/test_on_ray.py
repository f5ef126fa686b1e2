"""On two local workers of Ray: the same bits as in this process, and nothing is computed twice.

Ray takes some ten seconds to start, so that all tests share one, also drivers that are killed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import redis

import longtail
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import LongtailError
from model_store.publication import publish
from model_store.registry import Registry
from model_store.rerank_prompt import PromptLayout
from offline import publish_users
from offline.encoding import on_engine
from offline.encoding.on_engine import EncoderOnEngine, EncodeTexts
from offline.engine.local import EngineError, LocalEngine
from offline.engine.on_ray import RayEngine, connected
from offline.engine.work import Workplace
from offline.knowledge.answers import read_answers
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import cache_file, generate_knowledge
from offline.stages import candidates
from offline.stages.candidates import CandidatesStage
from tests.app.running import LONGTAIL
from tests.offline.encoding.tiny_encoder import make_tiny_bert
from tests.offline.engine.doubled import Doubled, run
from tests.offline.knowledge.stand_ins import make_tiny_llama, texts_of
from tests.offline.stages.first_stages import make_first_stages
from tests.synthetic_bundle import make_bundle, make_catalogue

pytestmark = pytest.mark.slow
N_USERS = 400
ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with connected(2):
        yield
    assert not ray.is_initialized()


def started(address: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A driver of its own on the cluster of these tests."""
    return subprocess.Popen(
        [sys.executable, str(LONGTAIL), *command],
        env={**os.environ, "RAY_ADDRESS": address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when(driver: subprocess.Popen[bytes], is_time: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_time():
        assert driver.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL


def test_parts_come_back_in_order_and_errors_as_their_line(tmp_path: Path) -> None:
    engine = RayEngine(2)
    assert run(engine, Doubled(), tmp_path, 5) == (5, [0, 2, 4, 6, 8])
    assert run(engine, Doubled(), tmp_path, 6) == (1, [0, 2, 4, 6, 8, 10])
    with pytest.raises(LongtailError, match="number 6: is wrong"):
        run(engine, Doubled(wrong=6), tmp_path, 7)


def test_models_get_a_device_each_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RayEngine(4)
    assert engine._place("auto") == ({"num_cpus": 1}, 4)
    with pytest.raises(EngineError, match="the work is for a CUDA device, and the Ray cluster has"):
        engine._place("cuda")
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0})
    assert engine._place("cuda") == engine._place("auto") == ({"num_gpus": 1}, 2)
    assert engine._place("cpu") == ({"num_cpus": 1}, 4)


def test_vectors_are_equal_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_engine, "_BATCHES", 2)
    folder = make_tiny_bert(tmp_path / "bert")
    texts = [f"title : {'war ' * (n % 7)}toy story {n % 5}" for n in range(40)]
    work = EncodeTexts(str(folder), tmp_path)
    found = [
        EncoderOnEngine(work, engine, tmp_path / engine.describe()[:7]).encode(texts, 4)
        for engine in (LocalEngine(1), RayEngine(2))
    ]
    np.testing.assert_array_equal(*found)


def test_recommendations_are_equal_and_a_second_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "made-1")
    command = ["recommend-all", "--bundle", str(bundle.folder), "--batch-size", "4"]
    frames = []
    for name, flags in (("local", ["--processes", "1"]), ("ray", ["--engine", "ray"])):
        flags += ["--out", str(tmp_path / name)]
        assert longtail.main([*command, *flags]) == 0
        files = sorted((tmp_path / name).glob("*.parquet"))
        frames.append(pl.concat([pl.read_parquet(file) for file in files]))
    assert frames[1].equals(frames[0])
    files[1].unlink()
    capsys.readouterr()
    assert longtail.main([*command, *flags, "--processes", "2"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("recommended 10 items to 4 users (8 more were there) in ")
    assert line.endswith("users/s, workers of Ray: 2")
    assert pl.read_parquet(files[1]).equals(frames[0][40:80])


def test_texts_are_equal_to_the_bit(tmp_path: Path) -> None:
    model = make_tiny_llama(tmp_path / "llama")
    config = KnowledgeConfig(
        model=str(model), max_new_tokens=24, batch_size=3, temperature=0.8, retries=1
    )
    texts = texts_of(*(f"toy story {'war ' * (number % 5)}{number}" for number in range(14)))
    found = []
    for engine in (None, RayEngine(2)):
        cache = tmp_path / str(engine)
        workplace = None if engine is None else Workplace(engine, cache / "parts")
        generate_knowledge(texts, config, cache, workplace=workplace)
        answers = read_answers(cache_file(config, cache))
        assert len(answers) == len(texts)
        found.append({key: replace(answer, made_on=None) for key, answer in answers.items()})
    assert found[0] == found[1]


def test_what_a_reranker_is_asked_is_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_CASES", 4)
    data, _, fitted = make_first_stages(tmp_path)
    stage = CandidatesStage(data, fitted, PromptLayout(n_candidates=10, n_similar=3))
    made = []
    for engine in (LocalEngine(1), RayEngine(2)):
        folder = tmp_path / engine.describe()[:7]
        folder.mkdir()
        stage.on(engine).run(folder)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]
    assert set(made[0]) == {"validation.json", "test.json"}


def test_a_killed_driver_leaves_what_the_next_one_needs_not_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "made-1", catalogue=make_catalogue(n_users=N_USERS))
    command = ["recommend-all", "--bundle", str(bundle.folder), "--batch-size", "1"]
    on_ray = ["--engine", "ray", "--processes", "2", "--out", str(tmp_path / "ray")]
    driver = started(ray.get_runtime_context().gcs_address, [*command, *on_ray])
    kill_when(driver, lambda: len([*(tmp_path / "ray").glob("*.parquet")]) >= 5)
    assert longtail.main([*command, *on_ray]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    found = re.search(r"to ([\d,]+) users \(([\d,]+) more were there\)", line)
    assert found, line
    computed, known = (int(number) for number in found.groups())
    assert computed + known == N_USERS
    assert 5 <= known < N_USERS
    assert longtail.main([*command, "--processes", "1", "--out", str(tmp_path / "local")]) == 0
    names = [path.name for path in sorted((tmp_path / "local").glob("*.parquet"))]
    assert names == [path.name for path in sorted((tmp_path / "ray").glob("*.parquet"))]
    frames = [
        pl.concat([pl.read_parquet(tmp_path / place / name) for name in names])
        for place in ("local", "ray")
    ]
    assert frames[0].equals(frames[1])


@pytest.fixture
def published(
    store: EmbeddedStore, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bundle:
    """A bundle with a reranker, active in an emptied store, which commands use."""
    bundle = make_bundle(tmp_path / "rerank-1", version="rerank-1", with_reranker=True)
    for name, value in {
        "REDIS_URL": store.url,
        "BUNDLES_DIR": str(tmp_path / "bundles"),
        "STORE_DIR": str(tmp_path / "store"),
        "CACHE_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(f"LONGTAIL_{name}", value)
    publish(bundle, tmp_path / "bundles", client)
    Registry(client).activate(bundle.version)
    return bundle


def test_reranked_answers_are_equal_and_a_killed_driver_is_gone_on_with(
    published: Bundle, client: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    answers_key = keys.rerank_key(published.version)
    command = ["rerank-all", "--users", "all", "--shares", "12"]

    def answers() -> dict[bytes, bytes]:
        """Without the second of each."""
        found = client.hgetall(answers_key)
        return {digest: blob[:4] + blob[8:] for digest, blob in found.items()}

    assert longtail.main([*command, "--processes", "1"]) == 0
    alone = answers()
    client.delete(answers_key, keys.rerank_times_key(published.version))
    assert len(alone) == published.manifest.n_users
    on_ray = [*command, "--engine", "ray", "--processes", "2"]
    driver = started(ray.get_runtime_context().gcs_address, on_ray)
    kill_when(driver, lambda: client.hlen(answers_key) >= 2)
    n_kept = client.hlen(answers_key)
    assert 2 <= n_kept < len(alone)
    capsys.readouterr()
    assert longtail.main(on_ray) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    found = re.match(
        r"asked (\d+), skipped (\d+), failed 0; 12 shares in .*, workers of Ray: 2", line
    )
    assert found, line
    n_asked, n_skipped = map(int, found.groups())
    assert n_asked + n_skipped == len(alone)
    assert n_kept <= n_skipped < len(alone)
    assert answers() == alone


def test_published_histories_are_equal(
    published: Bundle, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def histories() -> dict[bytes, bytes]:
        names = client.keys(keys.user_key(published.version, "*"))
        return {name: client.get(name) for name in names}

    alone = histories()
    client.delete(*alone)
    monkeypatch.setattr(publish_users, "_MIN_USERS", 5)
    command = ["publish", "--bundle", str(published.folder), "--engine", "ray", "--processes", "2"]
    assert longtail.main(command) == 0
    assert histories() == alone
    assert len(alone) == published.n_event_users
