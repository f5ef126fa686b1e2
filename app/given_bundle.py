"""The bundle that `longtail serve --bundle` names: published if it is new, and made active."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from app.settings import Settings
from model_store.bundle import Bundle
from model_store.errors import BundleError, RolloutInProgress
from model_store.preparation import PREPARE_S
from model_store.publication import find_published, publish
from model_store.registry import Registry
from model_store.rollout import Rollout
from model_store.store import connect
from model_store.store_url import StoreUrl
from model_store.workers import live_workers

log = logging.getLogger(__name__)

WHY = "longtail serve --bundle"
RETRY_S = 0.5


def publish_and_activate(folder: Path, settings: Settings, url: StoreUrl | str) -> str:
    """Publish a bundle, make it the active version, and return that.

    Workers of other services on the store load and check it first, as in every rollout. Several
    services that are started with the same bundle wait for the first of them.

    Args:
        folder: of the bundle.
        settings: of the service that starts.
        url: of the store.

    Raises:
        BundleError: it is damaged, or another service can't load it.
        RegistryError: another service's rollout doesn't end, or callers of the others filter by
            attributes that its items lack.
        StoreError: the store can't be used.
    """
    source = Bundle.open(folder)
    client = connect(url)
    registry = Registry(client, WHY)
    record = find_published(source, registry, settings.bundles_dir)
    if record is None:
        record = publish(source, settings.bundles_dir, client, _show_progress, trust=settings.trust)
    version = record.version
    rollout = Rollout(client, settings.bundles_dir, WHY, _log_rollout)
    deadline_s = time.monotonic() + PREPARE_S
    while (active := registry.active()) != version:
        others = live_workers(client)
        try:
            rolled = rollout.activate(version, force=not others)
        except RolloutInProgress as error:
            if time.monotonic() > deadline_s:
                raise
            log.info("waiting: %s", error)
            time.sleep(RETRY_S)
            continue
        except BundleError as error:
            raise BundleError(
                f"--bundle {folder}: another service on this store can't answer with it, so "
                f"{active or 'no version'} stays active: {error}"
            ) from error
        if others:
            log.info("%d workers of other services answer with %s too", rolled.workers, version)
    return version


def _log_rollout(what: str, n_done: int, n_workers: int) -> None:
    if n_workers:
        log.info("%s in other services: %d of %d workers", what, n_done, n_workers)


def _show_progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\rpublishing {what}: {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)
