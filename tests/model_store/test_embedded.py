from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError, StoreAway
from model_store.store import connect, store_errors


def wait_for(condition: object, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        return bool(connect(url, timeout_s=0.5).ping())
    except redis.RedisError:
        return False


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_written_values_are_there_after_a_stop(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        connect(store.url).set("a", "1")
    assert not answers(store.url)
    with EmbeddedStore(tmp_path) as store:
        assert connect(store.url).get("a") == b"1"


def test_a_killed_store_comes_back_with_every_acknowledged_write(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        store.supervise()
        client = connect(store.url)
        for n in range(100):
            client.rpush("events", n)
        killed = store.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: store.pid != killed and answers(store.url))
        assert connect(store.url).llen("events") == 100


def test_a_ctrl_c_does_not_reach_the_store_though_it_shares_the_session(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        assert store.pid is not None
        assert os.getsid(store.pid) == os.getsid(0)
        assert os.getpgid(store.pid) == store.pid


def test_a_second_process_uses_the_first_ones_store(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as first:
        with EmbeddedStore(tmp_path) as second:
            assert second.pid is None
            connect(second.url).set("a", "1")
        assert connect(first.url).get("a") == b"1"


def test_the_store_is_taken_over_when_its_owner_ends(tmp_path: Path) -> None:
    owner, other = EmbeddedStore(tmp_path), EmbeddedStore(tmp_path)
    owner.start()
    connect(owner.url).set("a", "1")
    other.start()
    other.supervise()
    owner.stop()
    wait_for(lambda: other.pid is not None and answers(other.url))
    assert connect(other.url).get("a") == b"1"
    other.stop()


def test_a_deep_folder_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / "store"
    with EmbeddedStore(folder) as store:
        assert answers(store.url)


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="LONGTAIL_STORE_DIR"):
        EmbeddedStore(tmp_path / "file").start()


def test_a_damaged_file_is_reported_with_the_servers_words(tmp_path: Path) -> None:
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StoreAway, match="ended at once"):
        EmbeddedStore(tmp_path).start()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_service_killed_outright_leaves_no_store_behind(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from model_store.embedded import EmbeddedStore\n"
        "store = EmbeddedStore(Path(sys.argv[1])); store.start()\n"
        "print(store.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        pid = int(service.stdout.readline())
        service.kill()
    wait_for(lambda: not is_running(pid))


def test_a_disk_that_fills_up_is_said_in_the_place_of_a_lost_connection(tmp_path: Path) -> None:
    """A server that can't write its file ends; clients see no more than a closed connection."""
    folder = tmp_path / "store"
    with (
        pytest.raises(StoreAway, match=f"the embedded store in {folder} ended: "),
        EmbeddedStore(folder) as store,
        connect(store.url) as client,
        store_errors(),
    ):
        assert store.pid is not None
        resource.prlimit(store.pid, resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))
        for number in range(10):
            client.set(f"key{number}", b"x" * 20_000)
