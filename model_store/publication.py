"""Publishing: a bundle into the bundles folder, its features into the store, then its record.

The order is what makes it safe to kill: a version is in the registry only when all it needs is
there, and publishing again finishes what was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import redis

from model_store import bundle as files
from model_store import keys
from model_store.bundle import Bundle
from model_store.codecs import UserHistory, encode_user, encode_vector
from model_store.compatibility import kinds_of
from model_store.errors import BundleError
from model_store.footprint import memory_bytes
from model_store.forgotten import digest_of_user, forgotten_since, left_of, read_forgotten
from model_store.histories import EVERYBODY, Interactions
from model_store.manifest import Manifest
from model_store.model_record import ModelRecord
from model_store.placing import Report, can_stand_for, place
from model_store.registry import Registry
from model_store.remote_bundles import Bundles, RemoteBundles, bundles_from
from model_store.signatures import ANY_SIGNER, Trust
from model_store.store import store_errors

_BATCH = 500
T = TypeVar("T")
WriteUsers: TypeAlias = Callable[[Bundle, Report], None]
"""Writes the histories of all users of a bundle, and reports how many."""


def bundles_folder() -> Bundles:
    """Published bundles: LONGTAIL_BUNDLES_DIR, else the folder `bundles/` in this package."""
    return bundles_from() or Path(__file__).parent / "bundles"


def publish(
    source: Bundle,
    bundles: Bundles,
    client: redis.Redis,
    report: Report | None = None,
    *,
    vectors: bool = False,
    trust: Trust = ANY_SIGNER,
    write: WriteUsers | None = None,
) -> ModelRecord:
    """Publish a bundle; it becomes known, not active. Publishing the same one again is harmless.

    A bundle whose version another bundle holds already is published under the next free one.

    Args:
        source: the bundle.
        bundles: where published bundles are.
        client: of the store.
        report: called during long work.
        vectors: write the knowledge vectors of the whole catalogue into the store too, for other
            services: this one reads those of fresh items alone.
        trust: whose signature the bundle must have.
        write: writes the users' histories, as `write_users` does; None: this process does.

    Raises:
        BundleError: the bundle is damaged or isn't signed as asked, or it is signed and another one
            has its version.
        BundleUnavailable: where bundles are can't be reached.
        StoreAway: the store can't be reached; the copied bundle stays and is reused next time.
    """
    trust.check(source.folder, source.version, Manifest.read(source.folder / files.MANIFEST))
    report = report or _stay_silent
    bundle, where = place(source, bundles, report)
    with store_errors():
        _write_users(bundle, client, report, write or partial(_write_here, client))
        if vectors:
            _write_vectors(bundle, client, report)
    record = ModelRecord(
        version=bundle.version,
        model=bundle.manifest.model.name,
        bundle=where,
        published_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        created_at=bundle.manifest.created_at,
        n_items=bundle.manifest.n_items,
        n_users=bundle.manifest.n_users,
        encoder=bundle.manifest.encoder.name if bundle.manifest.encoder else None,
        code_revision=bundle.manifest.code_revision,
        metrics=bundle.manifest.metrics,
        memory_bytes=memory_bytes(bundle.manifest),
        attributes=kinds_of(bundle.attributes),
    )
    Registry(client).add(record)
    return record


def open_active(client: redis.Redis) -> Bundle | None:
    """The bundle of the active version, its content not checked; None if no version is active.

    Raises:
        BundleError: it isn't there, or is damaged.
        StoreAway: the store can't be reached.
    """
    registry = Registry(client)
    version = registry.active()
    if version is None:
        return None
    return Bundle.open(registry.folder_of(version, bundles_folder()), verify=False)


def find_published(source: Bundle, registry: Registry, bundles: Bundles) -> ModelRecord | None:
    """The newest version that is published and gives these answers, None if there is none.

    For a signed bundle it is the one with its manifest.
    """
    for record in reversed(registry.records()):
        try:
            if isinstance(bundles, RemoteBundles):
                content = bundles.manifest_of(record.version)
            else:
                folder = Bundle.open(Path(record.bundle), verify=False).folder
                content = Manifest.read(folder / files.MANIFEST)
            if can_stand_for(content, record.bundle, source):
                return record
        except BundleError:
            continue
    return None


def _stay_silent(_what: str, _done: int, _total: int) -> None:
    pass


def _in_batches(values: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def write_users(
    version: str, interactions: Interactions, client: redis.Redis, rows: slice = EVERYBODY
) -> Iterator[int]:
    """Write the histories of some users, without what was before a person was forgotten.

    Args:
        version: the one that is published, which the bundle's own folder may name otherwise.
        interactions: of its bundle.
        client: of the store.
        rows: of the users.

    Yields:
        how many users were written together.

    Raises:
        StoreAway: the store can't be reached.
    """
    forgotten = read_forgotten(client)
    for batch in _in_batches(interactions.of(rows)):
        blobs = {
            keys.user_key(version, user_id): encode_user(left)
            for user_id, history in batch
            if (left := _left_of(user_id, history, forgotten)) is not None
        }
        if blobs:
            with store_errors():
                client.mset(blobs)
        yield len(batch)


def _write_here(client: redis.Redis, bundle: Bundle, tell: Report) -> None:
    done, total = 0, bundle.n_event_users
    for n_written in write_users(bundle.version, bundle.interactions(), client):
        done += n_written
        tell("users", done, total)


def _write_users(bundle: Bundle, client: redis.Redis, tell: Report, write: WriteUsers) -> None:
    forgotten = read_forgotten(client)
    write(bundle, tell)
    meanwhile = forgotten_since(forgotten, client)
    if meanwhile:
        for batch in _in_batches(bundle.all_interactions()):
            gone = [user_id for user_id, _ in batch if digest_of_user(user_id) in meanwhile]
            if gone:
                client.unlink(*(keys.user_key(bundle.version, user_id) for user_id in gone))


def _left_of(
    user_id: str, history: UserHistory, forgotten: Mapping[bytes, float]
) -> UserHistory | None:
    """A user's history, of one who was forgotten without what was before; None: nothing is left."""
    at_s = forgotten.get(digest_of_user(user_id)) if forgotten else None
    return history if at_s is None else left_of(history, at_s)


def _write_vectors(bundle: Bundle, client: redis.Redis, tell: Report) -> None:
    vectors = bundle.knowledge_vectors
    if vectors is None:
        return
    done, total = 0, bundle.manifest.n_items
    for batch in _in_batches(enumerate(bundle.item_ids.ids, start=1)):
        mapping: dict[Any, Any] = {
            item_id: encode_vector(vectors[index]) for index, item_id in batch
        }
        client.hset(keys.vectors_key(bundle.version), mapping=mapping)
        done += len(batch)
        tell("vectors", done, total)
