"""Fresh items: they came after training, and are given to published versions through the store."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import redis
from pydantic import BaseModel, ConfigDict, Field

from model_store import keys
from model_store.bundle import Bundle
from model_store.codecs import decode_vector, encode_vector
from model_store.errors import BundleError, InputError, StoreError
from model_store.id_map import IdMap
from model_store.knowledge_texts import KnowledgeText
from model_store.model_record import ModelRecord
from model_store.placing import Report
from model_store.publication import bundles_folder
from model_store.registry import Registry
from model_store.store import store_errors
from model_store.texts import first_line

log = logging.getLogger(__name__)

_BATCH = 500
T = TypeVar("T")


@dataclass(frozen=True)
class FreshItem:
    """An item that came after training: its id, knowledge vector float32 [K], attributes, text."""

    item_id: str
    vector: npt.NDArray[np.float32]
    attributes: Mapping[str, object]
    knowledge: KnowledgeText | None = None


def find_new(item_ids: Sequence[str], client: redis.Redis, *, encoder: str) -> dict[str, set[str]]:
    """The items that each published version with this text encoder doesn't know yet.

    An item is known if it is in the version's bundle, or is one of its fresh items.

    Raises:
        InputError: no published version uses this encoder.
        StoreAway: the store can't be reached.
    """
    records = [record for record in Registry(client).records() if record.encoder == encoder]
    if not records:
        raise InputError(f"no published version uses the text encoder {encoder!r}")
    with store_errors():
        return {record.version: _find_unknown(record, item_ids, client) for record in records}


def read_fresh(version: str, vector_size: int, client: redis.Redis) -> list[FreshItem]:
    """A version's fresh items, in order of arrival; those that can't be read are left out.

    Args:
        version: of the bundle.
        vector_size: K, of its text encoder.
        client: of the store.

    Raises:
        StoreAway: the store can't be reached.
    """
    sources = (keys.vectors_key, keys.attributes_key, keys.knowledge_key)
    items: dict[str, FreshItem] = {}
    with store_errors():
        ids = client.lrange(keys.fresh_key(version), 0, -1)
        for batch in _batches(ids):
            columns = [client.hmget(key(version), batch) for key in sources]
            for name, blob, attributes, text in zip(batch, *columns, strict=True):
                try:
                    item = FreshItem(
                        name.decode(),
                        decode_vector(blob or b"", vector_size),
                        json.loads(attributes or b"{}"),
                        KnowledgeText.model_validate_json(text) if text else None,
                    )
                except (StoreError, ValueError, RecursionError) as error:
                    log.warning("fresh item %r can't be read: %s", name, first_line(error))
                else:
                    items.setdefault(item.item_id, item)
    return list(items.values())


class Carried(BaseModel):
    """What became of a version's fresh items when another took its place."""

    model_config = ConfigDict(frozen=True)

    carried: int = Field(0, description="given to the other version")
    lost: int = Field(0, description="unknown to the other version, which can't place them")


def carry_over(before: str, version: str, client: redis.Redis, *, dry_run: bool = False) -> Carried:
    """Give the fresh items of a version to another one, as far as that can place them.

    Vectors of another text encoder mean nothing to it: such items are lost.

    Args:
        before: whose fresh items they are.
        version: the other one; both are published.
        client: of the store.
        dry_run: only count them.

    Raises:
        StoreAway: the store can't be reached.
    """
    records = {record.version: record for record in Registry(client).records()}
    old, new = records.get(before), records.get(version)
    if old is None or new is None or before == version:
        return Carried()
    with store_errors():
        raw: Sequence[bytes] = client.lrange(keys.fresh_key(before), 0, -1)  # type: ignore[assignment]
        ids = [one.decode("utf-8", "replace") for one in raw]
        unknown = _find_unknown(new, ids, client) if ids else set()
    if not unknown:
        return Carried()
    size = _vector_size(new, client) if old.encoder == new.encoder else None
    if size is None:
        return Carried(lost=len(unknown))
    items = [item for item in read_fresh(before, size, client) if item.item_id in unknown]
    if not dry_run:
        blobs = {item.item_id: _encode(item) for item in items}
        with store_errors():
            for item in items:
                _add(version, item, blobs[item.item_id], client)
    return Carried(carried=len(items), lost=len(unknown) - len(items))


def _vector_size(record: ModelRecord, client: redis.Redis) -> int | None:
    """Length of the knowledge vectors by which a version places fresh items; None: it can't."""
    try:
        bundle = _open(record, client)
    except BundleError as error:
        log.warning("version %s can't be looked at: %s", record.version, error)
        return None
    projection = bundle.fresh_projection
    return None if projection is None else projection.shape[0] - 1


def publish_fresh(
    items: Sequence[FreshItem], client: redis.Redis, *, encoder: str, report: Report | None = None
) -> dict[str, int]:
    """Give items to every published version that shares the text encoder.

    Running services pick them up within a second; nothing is retrained or restarted. An
    interrupted call is finished by the next: an item is there wholly, or not at all.

    Args:
        items: those that a version knows already are left as they are.
        client: of the store.
        encoder: name of the text encoder.
        report: called after each item of a version.

    Returns:
        For each such version, the number of items that were new to it.

    Raises:
        InputError: no published version uses this encoder, or a vector can't be stored.
        StoreAway: the store can't be reached.
    """
    blobs = {item.item_id: _encode(item) for item in items}
    new = find_new([item.item_id for item in items], client, encoder=encoder)
    total = sum(map(len, new.values()))
    done = 0
    with store_errors():
        for version, ids in new.items():
            for item in items:
                if item.item_id in ids:
                    _add(version, item, blobs[item.item_id], client)
                    done += 1
                    if report:
                        report("fresh items", done, total)
    return {version: len(ids) for version, ids in new.items()}


def _encode(item: FreshItem) -> bytes:
    with np.errstate(over="ignore"):
        if not np.isfinite(np.asarray(item.vector, dtype=np.float16)).all():
            raise InputError(
                f"item {item.item_id!r}: its vector holds NaN, infinity or a number beyond 65,504"
            )
    return encode_vector(item.vector)


def _find_unknown(record: ModelRecord, item_ids: Sequence[str], client: redis.Redis) -> set[str]:
    trained = _trained_items(record, client)
    others = [item_id for item_id in dict.fromkeys(item_ids) if item_id not in trained]
    unknown: set[str] = set()
    for batch in _batches(others):
        with client.pipeline(transaction=False) as pipe:
            for item_id in batch:
                pipe.hexists(keys.vectors_key(record.version), item_id)
            found = pipe.execute()
        unknown.update(one for one, is_there in zip(batch, found, strict=True) if not is_there)
    return unknown


def _trained_items(record: ModelRecord, client: redis.Redis) -> IdMap:
    """The items of a version's bundle; no items where the bundle can't be read on this machine.

    A service ignores fresh items that its bundle has.
    """
    try:
        return _open(record, client).item_ids
    except BundleError as error:
        log.warning("version %s: its items can't be looked up: %s", record.version, error)
        return IdMap(())


def _open(record: ModelRecord, client: redis.Redis) -> Bundle:
    folder = record.folder_in(bundles_folder(), Registry(client).deployments().versions)
    return Bundle.open(folder, verify=False)


def _batches(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


def _add(version: str, item: FreshItem, blob: bytes, client: redis.Redis) -> None:
    # One transaction an item: the list names an item only when its vector is there.
    with client.pipeline(transaction=True) as pipe:
        pipe.hset(keys.vectors_key(version), item.item_id, blob)
        attributes = json.dumps(dict(item.attributes), ensure_ascii=False)
        pipe.hset(keys.attributes_key(version), item.item_id, attributes)
        if item.knowledge is not None:
            text = item.knowledge.model_dump_json()
            pipe.hset(keys.knowledge_key(version), item.item_id, text)
        pipe.rpush(keys.fresh_key(version), item.item_id)
        pipe.execute()
