"""The first phase of a rollout: all live workers load a version beside the one that answers.

Who prepares holds a lease in the store, which says what is to be loaded. It is renewed while the
workers load, so that a preparation whose process is killed ends by itself.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from pydantic import BaseModel, ConfigDict, Field

from model_store import keys
from model_store.errors import BundleError, RegistryError, RolloutInProgress, StoreError
from model_store.store import store_errors
from model_store.workers import live_workers

LEASE_S = 5.0
LOADING_PAUSE_S = 0.1
"""A load takes seconds, and the service that asks may answer requests on the same core."""
PREPARE_S = 600.0
"""A large version takes a while to be loaded and checked beside another."""

# Both leave the lease of another rollout alone, as it may have begun when ours ended.
_RENEW = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

Report = Callable[[str, int, int], None]
"""Called as (work, workers that are done, all workers) whenever that changes."""


class Preparing(BaseModel):
    """Versions that all workers are to load, but not to answer with yet."""

    model_config = ConfigDict(frozen=True)

    versions: tuple[str, ...]
    token: str = Field(description="identifies the rollout")
    who: str
    why: str


class Preparation:
    """Has versions loaded by all live workers.

    Args:
        client: of the store.
        by, why: author and origin, for others who want to prepare meanwhile.
        report: called during waits.
    """

    def __init__(self, client: redis.Redis, by: str, why: str, report: Report) -> None:
        self._client: Any = client
        self._by = by
        self._why = why
        self._report = report

    @contextmanager
    def of(self, *versions: str) -> Iterator[bytes]:
        """All live workers have the versions loaded within; gives the lease, for `check_lease`.

        Raises:
            RegistryError: another rollout goes on, or a worker takes too long.
            BundleError: a worker can't load it.
            StoreAway: the store can't be reached.
        """
        token = secrets.token_hex(8)
        preparing = Preparing(versions=versions, token=token, who=self._by, why=self._why)
        document = preparing.model_dump_json()
        expiry_ms = round(LEASE_S * 1000)
        with store_errors():
            if not self._client.set(keys.PREPARING, document, nx=True, px=expiry_ms):
                raise RolloutInProgress(_in_progress(self._client.get(keys.PREPARING)))
        try:
            self._wait(versions, token, document)
            yield document.encode()
        finally:
            # It expires by itself, and what was done, or why it wasn't, must not be lost.
            with contextlib.suppress(StoreError), store_errors():
                self._client.register_script(_RELEASE)([keys.PREPARING], [document])

    def _wait(self, versions: Collection[str], token: str, document: str) -> None:
        """Wait until all workers have loaded them."""
        deadline_s = time.monotonic() + PREPARE_S
        n_done = -1
        while True:
            # Before the look at the workers: what it finds holds for as long as the lease does.
            self._renew_lease(document)
            workers = [one for one in live_workers(self._client) if one.state != "starting"]
            for worker in workers:
                if reason := worker.failures.get(token):
                    raise BundleError(f"{worker.name}: {reason}")
            left = [one for one in workers if not set(versions) <= set(one.loaded)]
            if n_done != (n_done := len(workers) - len(left)):
                self._report("loading", n_done, len(workers))
            if not left:
                return
            if time.monotonic() > deadline_s:
                missing = sorted(set(versions) - set(left[0].loaded))
                raise RegistryError(
                    f"{left[0].name} has not loaded {missing[0]!r} in {PREPARE_S:.0f} s"
                )
            time.sleep(LOADING_PAUSE_S)

    def _renew_lease(self, document: str) -> None:
        """Ask the workers for some more seconds.

        Raises:
            RegistryError: this process paused for longer than the lease, and another rollout began.
        """
        expiry_ms = round(LEASE_S * 1000)
        with store_errors():
            held = self._client.register_script(_RENEW)([keys.PREPARING], [document, expiry_ms])
        if held is not None:
            raise RolloutInProgress(_in_progress(held))


def check_lease(held: bytes | None, lease: bytes) -> None:
    """Check that a lease, as `Preparation.of` gave it, still holds.

    Args:
        held: value of keys.PREPARING.
        lease: the one that was given.

    Raises:
        RolloutInProgress: another rollout has begun, or the workers were asked too long ago, and
            let go of what they had loaded.
    """
    if held is None:
        raise RolloutInProgress(
            f"nothing is changed: it took more than {LEASE_S:.0f} s from the last look at the "
            "workers, which may have let go of the version; try again"
        )
    if held != lease:
        raise RolloutInProgress(_in_progress(held))


def read_preparing(document: bytes | None) -> Preparing | None:
    """The versions to be prepared; None where there is none, or what is there can't be read."""
    try:
        return Preparing.model_validate_json(document) if document else None
    except ValueError:
        return None


def _in_progress(document: bytes | None) -> str:
    other = read_preparing(document)
    if other is None:
        return "another version is being brought to the workers; try again in a few seconds"
    names = " and ".join(map(repr, other.versions))
    return f"version {names} is being brought to the workers by {other.who} ({other.why})"
