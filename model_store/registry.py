"""The registry: which versions there are, which one is active, which ones were before."""

from __future__ import annotations

from typing import Any

import redis
from pydantic import BaseModel, ConfigDict, ValidationError

from model_store import keys
from model_store.errors import RegistryError, StoreError
from model_store.store import store_errors

_DELETE_BATCH = 1_000


class ModelRecord(BaseModel):
    """A published version, as the registry keeps it."""

    model_config = ConfigDict(frozen=True)

    version: str
    model: str
    bundle: str
    published_at: str
    created_at: str
    n_items: int
    n_users: int
    encoder: str | None
    code_revision: str
    metrics: dict[str, float]


class Registry:
    """Versions in the store. Every call is one transaction; two operators can't tear it.

    All methods raise StoreAway when the store can't be reached.
    """

    def __init__(self, client: redis.Redis) -> None:
        # redis-py's types leave open whether an answer is bytes, text or awaitable.
        self._client: Any = client

    def add(self, record: ModelRecord) -> None:
        """Record a published version; its features and vectors must be in the store by then."""
        with store_errors():
            self._client.hset(keys.MODELS, record.version, record.model_dump_json())

    def records(self) -> list[ModelRecord]:
        """All versions, oldest publication first."""
        with store_errors():
            entries = self._client.hgetall(keys.MODELS)
        found = [_read(version, entry) for version, entry in entries.items()]
        return sorted(found, key=lambda record: (record.published_at, record.version))

    def get(self, version: str) -> ModelRecord:
        """One version.

        Raises:
            RegistryError: it isn't there; the message names those that are.
        """
        with store_errors():
            entry = self._client.hget(keys.MODELS, version)
        if entry is None:
            known = ", ".join(record.version for record in self.records()) or "none"
            raise RegistryError(f"version {version!r} is not published (published: {known})")
        return _read(version.encode(), entry)

    def active(self) -> str | None:
        """The active version, None before the first activation."""
        with store_errors():
            version = self._client.get(keys.ACTIVE)
        return version.decode() if version else None

    def previous(self) -> str | None:
        """The version a rollback would go to: the last active one that is still published."""
        with store_errors():
            for entry in self._client.lrange(keys.PREVIOUS, 0, -1):
                if self._client.hexists(keys.MODELS, entry):
                    return str(entry.decode())
        return None

    def activate(self, version: str) -> str | None:
        """Make a version the active one; answers the one before.

        Raises:
            RegistryError: the version isn't published.
        """
        self.get(version)

        def switch(pipe: Any) -> str | None:
            current = pipe.get(keys.ACTIVE)
            pipe.multi()
            if current and current.decode() != version:
                pipe.lpush(keys.PREVIOUS, current)
            pipe.set(keys.ACTIVE, version)
            return current.decode() if current else None

        with store_errors():
            before: str | None = self._client.transaction(
                switch, keys.ACTIVE, keys.PREVIOUS, value_from_callable=True
            )
        return before

    def rollback(self) -> str:
        """Make the version that was active before the active one again; answers it.

        Raises:
            RegistryError: nothing was active before, or all of it has been retired.
        """

        def switch(pipe: Any) -> str | None:
            published = pipe.hkeys(keys.MODELS)
            stack = pipe.lrange(keys.PREVIOUS, 0, -1)
            places = [place for place, entry in enumerate(stack) if entry in published]
            pipe.multi()
            if not places:
                return None
            target: bytes = stack[places[0]]
            pipe.ltrim(keys.PREVIOUS, places[0] + 1, -1)
            pipe.set(keys.ACTIVE, target)
            return target.decode()

        with store_errors():
            version: str | None = self._client.transaction(
                switch, keys.ACTIVE, keys.PREVIOUS, keys.MODELS, value_from_callable=True
            )
        if version is None:
            raise RegistryError("there is no earlier version to roll back to")
        return version

    def retire(self, version: str) -> int:
        """Take a version out: its record first, then its keys; answers how many keys went.

        Raises:
            RegistryError: it isn't published, or it is the active one.
        """
        self.get(version)

        def remove(pipe: Any) -> bool:
            current = pipe.get(keys.ACTIVE)
            pipe.multi()
            if current and current.decode() == version:
                return False
            pipe.hdel(keys.MODELS, version)
            pipe.lrem(keys.PREVIOUS, 0, version)
            return True

        with store_errors():
            removed = self._client.transaction(remove, keys.ACTIVE, value_from_callable=True)
        if not removed:
            raise RegistryError(f"version {version!r} is active; activate another one first")
        return self.delete_features(version)

    def delete_features(self, version: str) -> int:
        """Delete all keys that carry a version, in batches; answers how many."""
        deleted, batch = 0, []
        with store_errors():
            for key in self._client.scan_iter(keys.version_pattern(version), count=_DELETE_BATCH):
                batch.append(key)
                if len(batch) == _DELETE_BATCH:
                    deleted += self._client.unlink(*batch)
                    batch = []
            if batch:
                deleted += self._client.unlink(*batch)
        return deleted


def _read(version: bytes, entry: bytes) -> ModelRecord:
    try:
        return ModelRecord.model_validate_json(entry)
    except ValidationError as error:
        raise StoreError(f"{keys.MODELS} {version.decode()!r} holds no model record") from error
