"""Published bundles at a URL, used through a cache on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from model_store.bundle import MANIFEST
from model_store.bundle_cache import SETTING as MAX_BYTES_SETTING
from model_store.bundle_cache import BundleCache
from model_store.download import Order, Report, find_trusted
from model_store.download_process import run_download
from model_store.embedded import store_folder
from model_store.errors import BundleError, BundleUnavailable, ConfigError
from model_store.manifest import Manifest
from model_store.object_store import ObjectStore
from model_store.signatures import ANY_SIGNER, SIGNATURE, Trust, trust_from

SETTING, FOLDER_SETTING = "LONGTAIL_BUNDLES_DIR", "LONGTAIL_BUNDLES_CACHE_DIR"
DEFAULT_MAX_BYTES = 20 * 2**30
PROGRESS_S = 2.0


@dataclass(frozen=True)
class RemoteBundles:
    """The bundles below a URL, one folder a version.

    Attributes:
        url: as fsspec has it (`s3://bucket/folder`).
        cache: of those that were needed here.
        trust: whose bundles are downloaded.
    """

    url: str
    cache: BundleCache
    trust: Trust = ANY_SIGNER

    def __str__(self) -> str:
        return self.url

    @property
    def store(self) -> ObjectStore:
        """The files below the URL."""
        return ObjectStore(self.url)

    def url_of(self, version: str) -> str:
        """Where a version is."""
        return f"{self.url}/{version}"

    def find(self, version: str) -> Path | None:
        """The folder of a version in the cache; None if it isn't there, signed as asked."""
        return find_trusted(self.cache, version, self.trust)

    def fetch(
        self,
        version: str,
        spared: Collection[str] | None,
        report: Report | None = None,
        *,
        again: bool = False,
        yields: bool = False,
    ) -> Path:
        """The folder of a version in the cache, downloaded by another process if need be.

        Args:
            version: the version.
            spared: versions that must stay in the cache; None: all that are there.
            report: called during a download with the bytes that are there, and of all; None: a
                line of progress every few seconds goes to stderr.
            again: check the files in the cache, and download those that are damaged.
            yields: at the lowest priority.

        Raises:
            BundleUnavailable: it isn't here, and can't be downloaded now.
        """
        found = self.find(version)
        if found is not None and not again:
            return found
        if spared is None:
            spared = self.cache.versions()
        order = Order(
            url=self.url,
            cache=self.cache.folder.absolute(),
            max_bytes=self.cache.max_bytes,
            version=version,
            spared=tuple(sorted({*spared})),
            trusted_keys=",".join(map(str, self.trust.keys)) if self.trust.is_required else None,
            again=again,
            yields=yields,
        )
        return run_download(order, report or _progress_lines(version))

    def manifest_of(self, version: str) -> bytes:
        """The bytes of a version's manifest, from the cache or the URL.

        Raises:
            BundleUnavailable: it is in neither.
        """
        if (found := self.cache.find(version)) is not None:
            return Manifest.read(found / MANIFEST)
        return self.store.read(f"{version}/{MANIFEST}")

    def check(self, version: str) -> None:
        """Check a version without downloading it: manifest, signature, and sizes of its files.

        Raises:
            BundleUnavailable: a file isn't there, or can't be looked at.
            BundleError: the manifest can't be used, isn't signed as asked, or a size differs.
        """
        store, place = self.store, self.url_of(version)
        content = store.read(f"{version}/{MANIFEST}")
        manifest = Manifest.parse(content, f"{place}/{MANIFEST}")
        if self.trust.is_required:
            signature = store.read_optional(f"{version}/{SIGNATURE}")
            self.trust.find_signer(version, content, signature)
        check_sizes(manifest, store.list(version), place)

    def next_version(self, day: date) -> str:
        """The first free `<day>-<n>`.

        Raises:
            BundleUnavailable: the URL can't be reached.
        """
        taken = self.store.list()
        return next(name for n in count(1) if (name := f"{day.isoformat()}-{n}") not in taken)


def _progress_lines(version: str) -> Report:
    next_s = time.monotonic() + PROGRESS_S

    def report(done: int, total: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + PROGRESS_S
            shown = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
            print(f"downloading version {version}: {shown}", file=sys.stderr, flush=True)

    return report


Bundles: TypeAlias = Path | RemoteBundles
"""Where published bundles are: a folder, or a URL with its cache."""


def check_sizes(manifest: Manifest, sizes: Mapping[str, int | None], place: str) -> None:
    """Check that files are there as a manifest says.

    Raises:
        BundleUnavailable: one isn't there.
        BundleError: one has another size.
    """
    for name, entry in manifest.files.items():
        size_bytes = sizes.get(name)
        if size_bytes is None:
            raise BundleUnavailable(f"{place}/{name}: is in the manifest but not there")
        if size_bytes != entry.size_bytes:
            raise BundleError(
                f"{place}/{name}: {size_bytes} bytes, the manifest says {entry.size_bytes}"
            )


def local_folder(bundles: Bundles) -> Path:
    """The folder on this machine in which versions have folders."""
    return bundles.cache.folder if isinstance(bundles, RemoteBundles) else bundles


def cache_folder() -> Path:
    """Of downloaded bundles: LONGTAIL_BUNDLES_CACHE_DIR, else `bundles/` in the store's folder."""
    return Path(os.environ.get(FOLDER_SETTING) or store_folder() / "bundles")


def is_url(text: str) -> bool:
    """Whether the text of the setting names no folder of this machine."""
    return "://" in text


def check_url(url: str) -> str:
    """A URL that may be shown, without the `/` at its end.

    Raises:
        ValueError: it holds a password, or options, which could be secrets.
    """
    parts = urlsplit(url)
    if parts.password is not None or parts.query or parts.fragment or not parts.scheme:
        raise ValueError(
            "a URL of bundles has no password and no options; credentials are those of the "
            "protocol's own variables and files"
        )
    return url.rstrip("/")


def bundles_from(environment: Mapping[str, str] | None = None) -> Bundles | None:
    """The bundles of the environment's settings; None where they name no place.

    Raises:
        ConfigError: a setting can't be used.
    """
    found = os.environ if environment is None else environment
    text = found.get(SETTING, "")
    if not is_url(text):
        return Path(text) if text else None
    limit = found.get(MAX_BYTES_SETTING) or str(DEFAULT_MAX_BYTES)
    if not limit.isdecimal():
        raise ConfigError(f"{MAX_BYTES_SETTING}={limit!r}: not a number of bytes")
    try:
        return read_bundles(text, BundleCache(cache_folder(), int(limit)), trust_from(found))
    except ValueError as error:
        raise ConfigError(f"{SETTING}=(hidden): {error}") from None


def read_bundles(text: str, cache: BundleCache, trust: Trust) -> Bundles:
    """The bundles that a text names.

    Raises:
        ValueError: a URL can't be used.
    """
    return RemoteBundles(check_url(text), cache, trust) if is_url(text) else Path(text)


def find_bundle(bundles: Bundles, version: str, spared: Collection[str] | None) -> Path:
    """The folder of a version on this machine, downloaded if it is at a URL and not here yet.

    Args:
        bundles: where published bundles are.
        version: the version.
        spared: versions that must stay in the cache; None: all that are there.

    Raises:
        BundleUnavailable: it can't be downloaded.
    """
    if isinstance(bundles, RemoteBundles):
        return bundles.fetch(version, spared)
    return bundles / version
