"""`longtail publish`: writes a bundle or items to the store (default: the embedded one)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.bundle import REPORT, Bundle
from model_store.embedded import running_store
from model_store.errors import ConfigError
from model_store.publication import bundles_folder, publish
from model_store.rollout import Rollout
from model_store.signatures import POLICY_SETTING, SIGNATURE, trust_from
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.data.namings import FileNaming
from offline.evaluate.verdict import warnings_about
from offline.progress import Progress

if TYPE_CHECKING:
    import redis

    from model_store.publication import WriteUsers
    from model_store.store_url import StoreUrl
    from offline.engine.work import Engine
    from offline.item_changes import Published

Log = Callable[[str], None]
WHY = "longtail publish --activate"


class _ProgressLines:
    """One line of progress for each kind of data, or step of an activation."""

    def __init__(
        self, stack: ExitStack, label: str = "publishing", unit: str | None = None
    ) -> None:
        self._stack = stack
        self._label, self._unit = label, unit
        self._lines: dict[str, Progress] = {}
        self._done: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._lines:
            progress = Progress(f"{self._label} {what}", total, self._unit or what)
            self._lines[what] = self._stack.enter_context(progress)
        self._lines[what].advance(done - self._done.get(what, 0))
        self._done[what] = done


def check_settings(bundle: Path) -> None:
    """Find out before a bundle is built that it could not be published.

    Args:
        bundle: where it will be; one that is there and signed stays as it is, if nothing changed.

    Raises:
        ConfigError: a setting can't be used, or bundles have to be signed.
    """
    store_url_from()
    bundles_folder()
    if trust_from().is_required and not (bundle / SIGNATURE).exists():
        raise ConfigError(
            f"--activate: {POLICY_SETTING}=required, and a build signs nothing; build without it, "
            "then `longtail bundle sign` and `longtail publish --activate`"
        )


def publish_bundle(
    folder: Path,
    *,
    activate: bool,
    vectors: bool = False,
    engine: Engine | None = None,
    log: Log = print,
) -> str:
    """Publish a bundle and, if asked, make it the active version; returns its version.

    Args:
        folder: the bundle's.
        activate: make it the active version.
        vectors: write the whole catalogue's knowledge vectors into the store.
        engine: writes the users' histories; None: this process does.
        log: called with lines of progress.

    Raises:
        BundleError: it is damaged or isn't signed as the settings ask, or a worker can't load it.
        RegistryError: it is published, but lacks an attribute that the active version has.
        StoreAway: the store can't be reached.
    """
    source = Bundle.open(folder)
    with running_store(store_url_from()) as url:
        client = connect(url)
        with ExitStack() as stack:
            record = publish(
                source,
                bundles_folder(),
                client,
                _ProgressLines(stack),
                vectors=vectors,
                trust=trust_from(),
                write=None if engine is None else _writer(engine, url),
            )
        log(f"published {record.version}: {record.n_items} items, {record.n_users} users")
        for warning in warnings_about(source.report()) if source.has(REPORT) else ():
            log(f"WARNING: {warning}")
        if activate:
            _activate(record.version, client, log)
        return record.version


def _writer(engine: Engine, url: StoreUrl) -> WriteUsers:
    from offline.publish_users import write_on

    return partial(write_on, engine, url)


def _activate(version: str, client: redis.Redis, log: Log) -> None:
    """Have all live workers load a version, then answer with it."""
    with ExitStack() as stack:
        lines = _ProgressLines(stack, "activating:", "workers")
        rolled = Rollout(client, bundles_folder(), WHY, lines).activate(version)
    log(f"active: {version} (before: {rolled.previous or 'none'}); workers: {rolled.workers}")


def publish_fresh_items(
    items: Path,
    *,
    naming: FileNaming | None = None,
    generate: bool = False,
    log: Log = print,
) -> dict[str, int]:
    """Publish a catalogue file's items; returns the number of new ones for each version.

    Args:
        items: the catalogue file.
        naming: what was said about its columns.
        generate: have the active version's language model describe each item first.
        log: called with lines of progress.

    Raises:
        ConfigError: nothing can be generated, since the active version's recipe has no model.
        InputError: the file can't be used, or no version is active.
        StoreAway: the store can't be reached.
    """
    from offline.fresh_items import add_fresh_items

    with running_store(store_url_from()) as url, ExitStack() as stack:
        lines = _ProgressLines(stack)
        added = add_fresh_items(
            items, connect(url), naming=naming, generate=generate, log=log, report=lines
        )
    for version, count in added.items():
        log(f"{version}: {count} fresh items")
    return added


def publish_items(
    items: Path,
    *,
    naming: FileNaming | None = None,
    generate: bool = False,
    log: Log = print,
) -> Published:
    """Publish what a catalogue file says of known items, and its new ones.

    Args:
        items: the file.
        naming: what was said about its columns.
        generate: have the active version's language model describe new items first.
        log: called with lines of progress.

    Raises:
        ConfigError, InputError, StoreAway: as `offline.item_changes.publish_items`.
    """
    from offline import item_changes

    with running_store(store_url_from()) as url, ExitStack() as stack:
        lines = _ProgressLines(stack)
        published = item_changes.publish_items(
            items, connect(url), naming=naming, generate=generate, log=log, report=lines
        )
    for version, count in published.new.items():
        log(f"{version}: {count} fresh items")
    log(f"known items: {published.n_changed:,} changed, {published.n_unchanged:,} as they were")
    return published
