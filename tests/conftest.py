"""Shared by tests of several packages: a real store, the workers' lock, what tests take."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import redis

from model_store.embedded import EmbeddedStore
from model_store.store import connect
from tests.cpu_time import CpuTimes, check_slow_tests_are_found, may_have_slow_tests
from tests.machine_lock import MachineLock
from tests.schedule import schedule

# What is imported and collected stays to the end. To walk it each time that it has grown by a
# quarter took as long as the rest; `pytest_runtestloop` goes on.
gc.disable()

# Before anything loads torch, and for child processes too: the order of sums depends on the number
# of threads, and tiny models lose more by waiting for threads than they gain.
os.environ["OMP_NUM_THREADS"] = "1"
# At the lowest priority the reranker's process would wait until all other tests are over.
os.environ["LONGTAIL_RERANK_PRIORITY"] = "normal"

# The time of an example depends on the machine's other work more than on the code.
hypothesis.settings.register_profile("busy machine", deadline=None)
hypothesis.settings.load_profile("busy machine")

# A script that starts the tests in the background has them ignore Ctrl-C, and what they start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MACHINE_LOCK = pytest.StashKey[MachineLock]()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CpuTimes())
    # Only pytest-xdist's workers; a run in one process needs no lock.
    if worker := getattr(config, "workerinput", None):
        config.stash[MACHINE_LOCK] = lock = MachineLock(worker["testrunuid"])
        config.add_cleanup(lock.close)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files unread of which `-m slow` would take nothing."""
    if config.option.markexpr == "slow" and collection_path.suffix == ".py":
        return not may_have_slow_tests(collection_path) or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    check_slow_tests_are_found(items)
    if MACHINE_LOCK in config.stash:
        items[:] = schedule(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold the lock around a test and all its fixtures, of its module and session too."""
    lock = item.config.stash.get(MACHINE_LOCK, None)
    if lock is None:
        return (yield)
    with lock.hold(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session")
def freeze() -> Callable[[], None]:
    """What `gc.freeze` is, which most services of tests go without."""
    return gc.freeze


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> set[Path]:
    """Files with a test that runs alone, as it measures time."""
    return {item.path for item in request.session.items if item.get_closest_marker("alone")}


@pytest.fixture(scope="module", autouse=True)
def imports_alone_are_frozen(
    request: pytest.FixtureRequest, freeze: Callable[[], None], measured: set[Path]
) -> Iterator[None]:
    """Keep out of the collector's sight what is imported, and nothing else.

    A service freezes what it has loaded, as it is all that its process does. Here hundreds end in
    one process, and the collector must see what they leave. To thaw that thaws the imports too, and
    whoever collects garbage walks a million of their objects for half a second. Files that measure
    time come last: their services freeze, as the collector would hold them up.
    """
    is_measured = request.path in measured
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "freeze", freeze if is_measured else lambda: None)
        yield
    if is_measured:
        gc.unfreeze()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A real Valkey for the whole run; use `client` for an empty one."""
    with EmbeddedStore(tmp_path_factory.mktemp("store"), fsync="everysec") as running:
        yield running


@pytest.fixture
def client(store: EmbeddedStore) -> Iterator[redis.Redis]:
    """A client of an emptied store."""
    client = connect(store.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """An empty bundles folder."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    return folder
