"""`longtail users`: forgets a person, or shows everything that the store has of one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager

import model_store.people
from app.settings import Settings, read_settings
from model_store.embedded import EmbeddedStore
from model_store.people import Forgotten
from model_store.store import connect
from model_store.store_url import StoreUrl


def run(arguments: argparse.Namespace) -> int:
    """Run one of the subcommands and print its result; returns 0.

    Raises:
        LongtailError: it could not be done.
    """
    settings = read_settings()
    with _store_url(settings) as url:
        client = connect(url)
        if arguments.action == "forget":
            print(_describe(model_store.people.forget(arguments.user_id, client)))
        else:
            found = model_store.people.export(arguments.user_id, client, settings.bundles_dir)
            print(json.dumps(found, ensure_ascii=False, indent=2))
    return 0


@contextmanager
def _store_url(settings: Settings) -> Iterator[str | StoreUrl]:
    if settings.redis_url:
        yield settings.redis_url
        return
    with EmbeddedStore(settings.store_dir) as store:
        yield store.url


def _describe(found: Forgotten) -> str:
    return (
        f"forgotten: {found.events:,} events, {found.histories:,} histories of versions, "
        f"{found.answers:,} kept answers, {found.counts:,} figures in experiments, "
        f"{found.events_to_archive:,} events and {found.exposures:,} exposures to archive"
    )
