"""The workers that answer requests, as they report themselves in the store."""

from __future__ import annotations

import logging
from typing import Any, Literal

import redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store import keys
from model_store.deployments import DEFAULT
from model_store.store import store_errors

log = logging.getLogger(__name__)

EXPIRY_S = 3.0
"""A worker that hasn't reported for so long counts as gone: nobody waits for it."""
REPORT_S = 1.0
"""How often a worker reports; besides, whenever something changes."""


class NameState(BaseModel):
    """What one worker process answers requests with that give another name than `default`."""

    model_config = ConfigDict(frozen=True)

    version: str | None = Field(description="null: it is not loaded, or the name is deactivated")
    generation: int = Field(description="of the name's deployment record that it follows")


class WorkerState(BaseModel):
    """What one worker process has loaded and answers with."""

    model_config = ConfigDict(frozen=True)

    id: str
    host: str
    pid: int
    version: str | None = Field(description="the active version here; null before the first load")
    generation: int = Field(description="of the deployment record that it follows")
    state: Literal["starting", "loading", "ready"] = Field(
        description="starting: it has no version yet; loading: it loads another beside"
    )
    loading: str | None = None
    loaded: tuple[str, ...] = Field((), description="versions that are ready to answer")
    rejected: dict[str, str] = Field(
        {}, description="versions that it should answer with and can't load, with the reason"
    )
    failures: dict[str, str] = Field(
        {}, description="why it can't load what a rollout wants, by the rollout's token"
    )
    rule_warnings: dict[str, tuple[str, ...]] = Field(
        {}, description="rules that do nothing for a version, or not all they say, by version"
    )

    names: dict[str, NameState] | None = Field(
        None, description="under names other than `default`; null from earlier releases"
    )

    def under(self, model: str) -> NameState | None:
        """What it answers with under a name; None from an earlier release that knows no names."""
        if model == DEFAULT:
            return NameState(version=self.version, generation=self.generation)
        if self.names is None:
            return None
        return self.names.get(model, NameState(version=None, generation=0))

    def seen_under(self, model: str) -> WorkerState:
        """The state with what it answers with under a name as its version and generation."""
        state = self.under(model) or NameState(version=None, generation=0)
        return self.model_copy(update=dict(state))

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return f"worker {self.pid} on {self.host}"


def report_commands(state: WorkerState) -> tuple[tuple[str | bytes | int, ...], ...]:
    """Commands that write a worker's state."""
    document = state.model_dump_json()
    return (
        ("SET", keys.worker_key(state.id), document, "PX", round(EXPIRY_S * 1000)),
        ("SADD", keys.WORKERS, state.id),
    )


def farewell_commands(worker_id: str) -> tuple[tuple[str | bytes | int, ...], ...]:
    """Commands that remove a worker's state, at its end."""
    return ("DEL", keys.worker_key(worker_id)), ("SREM", keys.WORKERS, worker_id)


def live_workers(client: redis.Redis) -> list[WorkerState]:
    """The workers that have reported lately, by host and process.

    Those that are gone are forgotten; states that can't be read are ignored.

    Raises:
        StoreAway: the store can't be reached.
    """
    store: Any = client
    with store_errors():
        ids = sorted(store.smembers(keys.WORKERS))
        with store.pipeline(transaction=False) as pipe:
            for one in ids:
                pipe.get(keys.worker_key(one.decode("utf-8", "replace")))
            documents = pipe.execute(raise_on_error=False)
        gone = [one for one, document in zip(ids, documents, strict=True) if document is None]
        if gone:
            store.srem(keys.WORKERS, *gone)
    found = [state for document in documents if (state := _read(document)) is not None]
    return sorted(found, key=lambda state: (state.host, state.pid, state.id))


def _read(document: object) -> WorkerState | None:
    if not isinstance(document, bytes):
        return None
    try:
        return WorkerState.model_validate_json(document)
    except ValidationError:
        log.debug("ignoring a worker's state that can't be read: %r", document[:200])
        return None
