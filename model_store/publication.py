"""Publishing: a bundle into the bundles folder, its features into the store, then its record.

The order is what makes it safe to kill: a version is in the registry only when all it needs is
there, and publishing again finishes what was begun.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import redis

from model_store import bundle as files
from model_store import keys
from model_store.bundle import Bundle
from model_store.bundle_writer import copy_bundle
from model_store.codecs import encode_user, encode_vector
from model_store.errors import BundleError, InputError
from model_store.manifest import Manifest
from model_store.registry import ModelRecord, Registry
from model_store.store import store_errors

log = logging.getLogger(__name__)

_BATCH = 500
T = TypeVar("T")
Report = Callable[[str, int, int], None]
"""Called as (name of the work, done, total) during long work."""


def bundles_folder() -> Path:
    """The folder of published bundles: LONGTAIL_BUNDLES_DIR, else `bundles/` in this package."""
    return Path(os.environ.get("LONGTAIL_BUNDLES_DIR") or Path(__file__).parent / "bundles")


def next_version(folder: Path, day: date) -> str:
    """The first free `<day>-<n>` among the bundles in a folder."""
    return next(
        version for n in count(1) if not (folder / (version := f"{day.isoformat()}-{n}")).exists()
    )


def publish(
    source: Bundle, folder: Path, client: redis.Redis, report: Report | None = None
) -> ModelRecord:
    """Publish a bundle; it becomes known, not active. Publishing the same one again is harmless.

    A bundle whose version another bundle holds already is published under the next free one.

    Raises:
        BundleError: the bundle is damaged.
        StoreAway: the store can't be reached; the copied bundle stays and is reused next time.
    """
    bundle = _place(source, folder)
    with store_errors():
        _write_users(bundle, client, report or _stay_silent)
        _write_vectors(bundle, client, report or _stay_silent)
    record = ModelRecord(
        version=bundle.version,
        model=bundle.manifest.model.name,
        bundle=str(bundle.folder),
        published_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        created_at=bundle.manifest.created_at,
        n_items=bundle.manifest.n_items,
        n_users=bundle.manifest.n_users,
        encoder=bundle.manifest.encoder.name if bundle.manifest.encoder else None,
        code_revision=bundle.manifest.code_revision,
        metrics=bundle.manifest.metrics,
    )
    Registry(client).add(record)
    return record


def find_published(source: Bundle, registry: Registry) -> ModelRecord | None:
    """The newest version that is published and gives these answers, None if there is none."""
    for record in reversed(registry.records()):
        try:
            published = Bundle.open(Path(record.bundle), verify=False)
        except BundleError:
            continue
        if published.manifest.answers_as(source.manifest):
            return record
    return None


def _stay_silent(_what: str, _done: int, _total: int) -> None:
    pass


def _place(source: Bundle, folder: Path) -> Bundle:
    """The bundle in the bundles folder: there already, or copied in."""
    source.histories()  # checked before anything is written
    if source.folder.parent.resolve() == folder.resolve():
        return source
    for manifest in sorted(folder.glob(f"*/{files.MANIFEST}")):
        try:
            if Manifest.load(manifest).answers_as(source.manifest):
                return Bundle.open(manifest.parent)
        except BundleError as error:
            log.warning("ignoring a broken bundle: %s", error)
    version = source.version
    if (folder / version).exists():
        version = next_version(folder, datetime.now(UTC).date())
    return copy_bundle(source, folder / version, version=version)


def _in_batches(values: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _write_users(bundle: Bundle, client: redis.Redis, tell: Report) -> None:
    done, total = 0, bundle.manifest.n_users
    for batch in _in_batches(bundle.users()):
        blobs = {
            keys.user_key(bundle.version, user_id): encode_user(history)
            for user_id, history in batch
        }
        client.mset(blobs)
        done += len(batch)
        tell("users", done, total)


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


@dataclass(frozen=True)
class FreshItem:
    """An item that came after training: its id, knowledge vector float32 [K], attributes."""

    item_id: str
    vector: npt.NDArray[np.float32]
    attributes: Mapping[str, object]


def publish_fresh(
    items: Sequence[FreshItem], client: redis.Redis, *, encoder: str
) -> dict[str, int]:
    """Give items to every published version that shares the text encoder.

    Running services pick them up within a second; nothing is retrained or restarted.

    Returns:
        For each such version, the number of items that were new to it.

    Raises:
        InputError: no published version uses this encoder, or a vector isn't finite.
    """
    records = [record for record in Registry(client).records() if record.encoder == encoder]
    if not records:
        raise InputError(f"no published version uses the text encoder {encoder!r}")
    for item in items:
        if not np.isfinite(item.vector).all():
            raise InputError(f"item {item.item_id!r}: its vector holds NaN or infinity")
    blobs = [encode_vector(item.vector) for item in items]
    with store_errors():
        return {
            record.version: _add_fresh(record.version, items, blobs, client) for record in records
        }


def _add_fresh(
    version: str, items: Sequence[FreshItem], blobs: Sequence[bytes], client: redis.Redis
) -> int:
    added = 0
    for item, blob in zip(items, blobs, strict=True):
        if client.hexists(keys.vectors_key(version), item.item_id):
            continue
        # One transaction an item: the list names an item only when its vector is there.
        with client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.vectors_key(version), item.item_id, blob)
            attributes = json.dumps(dict(item.attributes), ensure_ascii=False)
            pipe.hset(keys.attributes_key(version), item.item_id, attributes)
            pipe.rpush(keys.fresh_key(version), item.item_id)
            pipe.execute()
        added += 1
    return added
