"""Versions that earlier refreshes published and nobody uses any more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import redis

from model_store.errors import RegistryError
from model_store.registry import Registry
from model_store.remote_bundles import Bundles
from model_store.rollout import Rollout
from offline.refresh.journal import REPORT
from offline.stages.stage import Log

WHY = "longtail refresh --keep"


def published_by(runs: Path) -> list[str]:
    """The versions that refreshes published, the oldest first."""
    versions = []
    for path in sorted(runs.glob(f"[0-9]*/{REPORT}")):
        try:
            version = json.loads(path.read_bytes())["version"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # none of a refresh
        if isinstance(version, str):
            versions.append(version)
    return list(dict.fromkeys(versions))


def retire_older(
    versions: Sequence[str], keep: int, client: redis.Redis, bundles: Bundles, log: Log
) -> None:
    """Retire all but the newest, those in use, and those that would be gone back to.

    Args:
        versions: the oldest first; those that are not published any more are left.
        keep: how many stay, the newest ones.
        client: of the store.
        bundles: where published bundles are; they stay there.
        log: called with what becomes of each version.

    Raises:
        StoreAway: the store can't be reached.
    """
    registry = Registry(client)
    published = {record.version for record in registry.records()}
    next_ones = {record.previous[0] for _, record in registry.deployments() if record.previous}
    for version in versions[:-keep]:
        if version not in published or version in next_ones:
            continue
        try:
            n_keys = Rollout(client, bundles, WHY).retire(version)
        except RegistryError as error:
            log(f"not retired: {error}")
        else:
            log(f"retired {version}: {n_keys:,} keys are gone from the store")
