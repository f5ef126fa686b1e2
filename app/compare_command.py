"""`longtail models compare`: answers of two versions to the same users, as table, JSON or page."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from app.admin_client import admin_token, asks_service, read_answer
from app.comparison.comparer import Comparer, Wanted
from app.comparison.page import render_page
from app.comparison.report import SEGMENTS, Both, Comparison
from app.folders import check_writable
from app.model.background import BackgroundThread
from app.progress import Progress
from app.settings import Settings, read_settings
from app.store.journal import Journal
from app.store.store import Store
from model_store.admin_api import ask, service_url
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError
from model_store.files import probe_folder, write_atomically
from model_store.registry import Registry
from model_store.store import connect
from model_store.store_url import StoreUrl

# No request waits here.
STORE_TIMEOUT_S = 30.0


def run(arguments: argparse.Namespace) -> int:
    """Compare and print or write the report; returns 0.

    Raises:
        LongtailError: it could not be done.
    """
    if arguments.a == arguments.b:
        raise ConfigError(f"{arguments.a} is named twice: two versions are compared")
    settings = read_settings()
    if arguments.html is not None:
        with _naming(arguments.html):
            probe_folder(arguments.html.absolute().parent, 1)
    wanted = Wanted(
        a=arguments.a,
        b=arguments.b,
        source="shadowed" if arguments.shadowed else "replayed",
        users=arguments.users,
        k=arguments.k,
    )
    if asks_service(arguments):
        comparison = _through_service(arguments, wanted, settings)
    elif settings.redis_url:
        comparison = asyncio.run(_on_store(wanted, settings.redis_url, settings))
    else:
        with EmbeddedStore(settings.store_dir) as store:
            comparison = asyncio.run(_on_store(wanted, StoreUrl.parse(store.url), settings))
    if arguments.html is not None:
        with _naming(arguments.html):
            write_atomically(arguments.html, render_page(comparison).encode())
        print(f"the page is {arguments.html}", file=sys.stderr)
    print(comparison.model_dump_json(indent=2) if arguments.json else _readable(comparison))
    return 0


def _through_service(
    arguments: argparse.Namespace, wanted: Wanted, settings: Settings
) -> Comparison:
    token = admin_token(arguments.token, settings)
    parameters = urlencode(
        {
            "a": wanted.a,
            "b": wanted.b,
            "source": wanted.source,
            "users": wanted.users,
            "k": wanted.k,
        }
    )
    url = f"{service_url(arguments.url)}/admin/compare?{parameters}"
    return read_answer(Comparison, ask("GET", url, token), url)


async def _on_store(wanted: Wanted, url: StoreUrl, settings: Settings) -> Comparison:
    check_writable(settings.store_dir, "LONGTAIL_STORE_DIR")
    store = Store(url, Journal(settings.store_dir), timeout_s=STORE_TIMEOUT_S, remembered_users=0)
    thread = BackgroundThread("comparison", yields=False)
    progress = Progress("users", wanted.users)
    try:
        with connect(url) as client:
            comparer = Comparer(
                Registry(client),
                store,
                thread,
                bundles_dir=settings.bundles_dir,
                provider=settings.execution_provider,
                trust=settings.trust,
            )
            print(f"loading {wanted.a} and {wanted.b}", file=sys.stderr)
            return await comparer.compare(wanted, lambda n_done, _total: progress.show(n_done))
    finally:
        thread.stop(0)
        store.close()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the page where it can't be written."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--html {path}: {error.strerror}") from error


def _readable(comparison: Comparison) -> str:
    figures = [comparison.segments[name] for name in SEGMENTS]
    rows: list[tuple[str, list[str]]] = [
        ("", list(SEGMENTS)),
        ("answers", [f"{one.answers:,}" for one in figures]),
        ("identical", [_number(one.identical) for one in figures]),
        ("overlap", [_number(one.overlap) for one in figures]),
        ("rank correlation", [_number(one.rank_correlation) for one in figures]),
        ("rank-biased overlap", [_number(one.rank_biased_overlap) for one in figures]),
        *_both_rows("popularity rank", [one.popularity_rank for one in figures], comparison, 1),
        *_both_rows("coverage", [one.coverage for one in figures], comparison, 3),
    ]
    if comparison.age_attribute is not None:
        ages = [one.age or Both(a=None, b=None, shift=None) for one in figures]
        rows += _both_rows(comparison.age_attribute, ages, comparison, 1)
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}{''.join(f'{cell:>11}' for cell in cells)}" for name, cells in rows]
    for which, latency in (comparison.latency_ms or {}).items():
        version = comparison.a if which == "a" else comparison.b
        lines.append(f"{version}: p50 {latency.p50:.3f} ms, p99 {latency.p99:.3f} ms an answer")
    changed = ", ".join(one.user_id for one in comparison.changed)
    return "\n".join([*lines, f"most changed: {changed or 'nobody'}"])


def _both_rows(
    what: str, figures: list[Both], comparison: Comparison, digits: int
) -> list[tuple[str, list[str]]]:
    return [
        (f"{what}, {comparison.a}", [_number(one.a, digits) for one in figures]),
        (f"{what}, {comparison.b}", [_number(one.b, digits) for one in figures]),
    ]


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
