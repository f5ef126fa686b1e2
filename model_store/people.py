"""Forgetting a person, and what is kept of one: everything in the store by a user's id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import redis

from model_store import keys
from model_store.answer_pairs import read_pair
from model_store.bundle import Bundle
from model_store.codecs import UserHistory, decode_arrived, decode_user
from model_store.deployments import Deployments
from model_store.errors import BundleError, StoreError
from model_store.event_log import forget_logged, logged_of
from model_store.experiment_counts import fields_of, shard_of
from model_store.experiment_counts import user_key as counted_key
from model_store.exposure_log import Exposure, exposures_of, forget_exposures
from model_store.forgotten import note_forgotten
from model_store.model_record import ModelRecord
from model_store.registry import Registry
from model_store.remote_bundles import Bundles, local_folder
from model_store.rerank_codec import decode_answer
from model_store.served import decode_answers
from model_store.store import store_errors

_AT_ONCE = 1_000


@dataclass(frozen=True)
class Forgotten:
    """What was removed of a person.

    Attributes:
        events: events that came in while services ran.
        histories: histories of published versions.
        answers: answers that were kept to compare versions, and those that cite the person.
        counts: figures in experiments and by version; the sums over all users stay.
        events_to_archive: events in the log; an archive follows when it is written next.
        exposures: answers in theirs; likewise.
    """

    events: int
    histories: int
    answers: int
    counts: int
    events_to_archive: int
    exposures: int


def forget(user_id: str, client: redis.Redis) -> Forgotten:
    """Remove everything that the store has by a user's id; again, it does no harm.

    Raises:
        StoreAway: the store can't be reached; some of it may have been removed.
        StoreError: it rejects a command.
    """
    registry = Registry(client)
    versions = [record.version for record in registry.records()]
    with store_errors():
        # First: what a publication or a worker writes meanwhile is found by it.
        note_forgotten(user_id, client)
        events = keys.events_key(user_id)
        n_events = client.zcard(events) if client.type(events) == b"zset" else 0
        n_to_archive = forget_logged(user_id, client)
        n_exposures = forget_exposures(user_id, client)
        client.unlink(events, keys.served_key(user_id))
        histories = [keys.user_key(version, user_id) for version in versions]
        n_histories = client.unlink(*histories) if histories else 0
        n_answers = sum(_forget_pairs(a, b, user_id, client) for a in versions for b in versions)
        n_answers += sum(_forget_citations(version, user_id, client) for version in versions)
        user = counted_key(user_id)
        shard = shard_of(user)
        n_counts = sum(
            bool(client.hdel(keys.experiment_key(name, shard), *fields_of(user)))
            for name in _counted_in(registry.deployments())
        )
    return Forgotten(n_events, n_histories, n_answers, n_counts, n_to_archive, n_exposures)


def export(user_id: str, client: redis.Redis, bundles_dir: Bundles) -> dict[str, Any]:
    """Everything that the store has by a user's id, JSON-ready.

    Args:
        user_id: of the person.
        client: of the store.
        bundles_dir: where published bundles are, which say which item a history means.

    Raises:
        StoreAway: the store can't be reached.
        StoreError: it holds something unreadable by that id.
    """
    registry = Registry(client)
    records = registry.records()
    versions = [record.version for record in records]
    with store_errors():
        members = cast(list[bytes], client.zrange(keys.events_key(user_id), 0, -1))
        served = decode_answers(cast(list[bytes], client.lrange(keys.served_key(user_id), 0, -1)))
        blobs = {one: client.get(keys.user_key(one, user_id)) for one in versions}
        pairs = [
            {"a": a, "b": b, **pair}
            for a in versions
            for b in versions
            for _, pair in _pairs_of(a, b, user_id, client)
        ]
        user = counted_key(user_id)
        counted = [
            name
            for name in _counted_in(registry.deployments())
            if client.hexists(keys.experiment_key(name, shard_of(user)), b"u" + user)
        ]
    to_archive = [event for _, events in logged_of(user_id, client) for event in events]
    by_version = {record.version: record for record in records}
    folder = local_folder(bundles_dir)
    return {
        "user_id": user_id,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": [_described(asdict(decode_arrived(member))) for member in members],
        "events_to_archive": [_described(asdict(event)) for event in to_archive],
        "exposures": [_exposure(shown) for shown in exposures_of(user_id, client)],
        "histories": {
            version: _interactions(decode_user(cast(bytes, blob)), by_version[version], folder)
            for version, blob in blobs.items()
            if blob is not None
        },
        "served_answers": [asdict(answer) for answer in served],
        "compared_answers": pairs,
        "experiments": [name for name in counted if not name.startswith("@")],
        "clicks_by_version": [name[1:] for name in counted if name.startswith("@")],
    }


def _counted_in(deployments: Deployments) -> list[str]:
    """Names of the scopes in which what somebody saw may be counted."""
    experiments = [experiment.name for experiment in deployments.kept_experiments]
    return [*experiments, *(f"@{model}" for model, _ in deployments)]


def _exposure(shown: Exposure) -> dict[str, Any]:
    drawn = shown.exploration
    return _described({**shown._asdict(), "exploration": None if drawn is None else asdict(drawn)})


def _described(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what is not known of it."""
    return {name: value for name, value in event.items() if value is not None}


def _interactions(
    history: UserHistory, record: ModelRecord, bundles_dir: Path
) -> list[dict[str, Any]]:
    """Items by their ids, or by their indices where the bundle can't be read on this machine.

    With type and kind, where the version's training data had some.
    """
    ids: Sequence[str] = ()
    types: Sequence[str] = ()
    try:
        bundle = Bundle.open(record.folder_in(bundles_dir, ()), verify=False)
        ids, types = bundle.item_ids.ids, bundle.manifest.events.types
    except BundleError:
        pass
    kinds = [{}] * len(history.items) if history.kinds is None else history.described_kinds(types)
    rows = zip(history.items.tolist(), history.timestamps.tolist(), kinds, strict=True)
    return [
        {
            **({"item_id": ids[item - 1]} if item <= len(ids) else {"item_index": item}),
            "timestamp": at,
            **kind,
        }
        for item, at, kind in rows
    ]


def _pairs_of(
    a: str, b: str, user_id: str, client: redis.Redis
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """A person's pairs of answers of two versions, as documents and decoded."""
    for document in cast(list[bytes], client.lrange(keys.answer_pairs_key(a, b), 0, -1)):
        pair = read_pair(document)
        if pair is not None and pair.user_id == user_id:
            yield document, {"a_items": pair.a, "b_items": pair.b}


def _forget_pairs(a: str, b: str, user_id: str, client: redis.Redis) -> int:
    key = keys.answer_pairs_key(a, b)
    documents = {document for document, _ in _pairs_of(a, b, user_id, client)}
    return sum(client.lrem(key, 0, document) for document in documents)  # type: ignore[arg-type,misc]


def _forget_citations(version: str, user_id: str, client: redis.Redis) -> int:
    """Remove cached answers of the reranker whose prompt had the person as a similar user."""
    answers, times = keys.rerank_key(version), keys.rerank_times_key(version)
    found = []
    for digest, blob in client.hscan_iter(answers, count=_AT_ONCE):
        try:
            if decode_answer(blob).similar_user == user_id:
                found.append(digest)
        except StoreError:
            continue  # whoever reads it there has none
    if found:
        client.hdel(answers, *found)
        client.zrem(times, *found)
    return len(found)
