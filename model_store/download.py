"""Downloads a version into the cache: its manifest first, and every file checked against it.

What serves doesn't do it itself, but has a process of its own for it (`python -m
model_store.download`): the interpreter that answers requests hashes nothing, doesn't wait for a
network, and loads no client of an object store. It may be killed at any moment; the next one goes
on, within a file where the file system can read from a byte on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from model_store.bundle import MANIFEST
from model_store.bundle_cache import BundleCache
from model_store.errors import BundleError, BundleUnavailable, LongtailError
from model_store.files import write_atomically
from model_store.manifest import FileEntry, Manifest, check_version
from model_store.object_store import ObjectStore
from model_store.parent_death import die_with_parent
from model_store.signatures import ANY_SIGNER, SIGNATURE, Trust, read_keys

Report = Callable[[int, int], object]
"""Called as (bytes that are there, bytes of all)."""

REPORT_S = 0.5
_HASHED_BYTES = 64 << 10
LOWEST_NICENESS = 19


class Order(BaseModel):
    """What a process is to download; one line of JSON on its standard input.

    Attributes:
        url: of the folder of published bundles.
        cache: folder of the cache.
        max_bytes: limit on its size.
        version: the version.
        spared: versions that must stay in the cache.
        trusted_keys: whose signature is needed, in the form of the setting; None: nobody's.
        again: check the files in the cache, and download those that are damaged.
        yields: at the lowest priority, beside a service that answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    cache: Path
    max_bytes: int
    version: Annotated[str, StringConstraints(min_length=1)]
    spared: tuple[str, ...] = ()
    trusted_keys: str | None = None
    again: bool = False
    yields: bool = True

    @property
    def trust(self) -> Trust:
        """Whose signature is needed."""
        if self.trusted_keys is None:
            return ANY_SIGNER
        return Trust(read_keys(self.trusted_keys), is_required=True)


def download(order: Order, report: Report = lambda _done, _total: None) -> Path:
    """The folder of a version in the cache, downloaded unless it is there.

    Raises:
        ConfigError: nothing is installed for the URL's protocol.
        BundleUnavailable: it can't be downloaded now: it isn't there, a file differs from the
            manifest, the network, the credentials, the disk.
        BundleError: its manifest can't be used, or isn't signed as asked.
    """
    cache = BundleCache(order.cache, order.max_bytes)
    version = check_version(order.version)
    with cache.locked():
        # Another process may have had it downloaded while this one waited.
        found = None if order.again else find_trusted(cache, version, order.trust)
        if found is not None:
            return found
        return _Download(order, ObjectStore(f"{order.url}/{version}"), cache, report).run()


def find_trusted(cache: BundleCache, version: str, trust: Trust) -> Path | None:
    """The folder of a version in the cache; None if it isn't there, signed as asked."""
    found = cache.find(version)
    if found is None:
        return None
    try:
        trust.check(found, version, Manifest.read(found / MANIFEST))
    except BundleError:
        return None
    return found


class _Download:
    """One download, with the cache's lock held."""

    def __init__(
        self, order: Order, store: ObjectStore, cache: BundleCache, report: Report
    ) -> None:
        self._order, self._store, self._cache = order, store, cache
        self._version = order.version
        self._folder = cache.partial(order.version)
        self._report = report
        self._done_bytes = self._total_bytes = 0

    def run(self) -> Path:
        content = self._store.read(MANIFEST)
        manifest = Manifest.parse(content, self._store.place(MANIFEST))
        if manifest.version != self._version:
            raise BundleError(f"{self._store.url}: holds version {manifest.version}")
        signature = self._store.read_optional(SIGNATURE)
        if self._order.trust.is_required:
            self._order.trust.find_signer(self._version, content, signature)
        if self._cache.find(self._version) is not None:
            self._cache.reopen(self._version)
        self._total_bytes = sum(entry.size_bytes for entry in manifest.files.values())
        try:
            return self._gather(manifest, content, signature)
        except OSError as error:
            # A full disk is needed for other things than a part of a bundle.
            shutil.rmtree(self._folder, ignore_errors=True)
            raise BundleUnavailable(
                f"{self._folder}: can't be written ({error.strerror}); the parts of version "
                f"{self._version!r} there are removed"
            ) from error

    def _gather(self, manifest: Manifest, content: bytes, signature: bytes | None) -> Path:
        size_bytes = self._total_bytes + len(content) + len(signature or b"")
        self._cache.make_space(self._version, size_bytes, self._order.spared)
        self._folder.mkdir(exist_ok=True)
        for left in self._folder.iterdir():
            if left.name not in manifest.files:
                left.unlink()  # of another manifest, under which the download began
        for name, entry in manifest.files.items():
            self._fetch(name, entry)
        if signature is not None:
            write_atomically(self._folder / SIGNATURE, signature)
        write_atomically(self._folder / MANIFEST, content)
        folder = self._cache.folder / self._version
        self._folder.replace(folder)
        return folder

    def _fetch(self, name: str, entry: FileEntry) -> None:
        """A file, from where an earlier download of it ended.

        Raises:
            BundleUnavailable: its content is not as the manifest says.
        """
        path = self._folder / name
        if path.exists() and path.stat().st_size > 0 and self._append(name, path, entry):
            return
        # What was there began a file of another manifest, or was damaged on the disk.
        path.unlink(missing_ok=True)
        if not self._append(name, path, entry):
            path.unlink(missing_ok=True)
            raise BundleUnavailable(
                f"{self._store.place(name)}: sha256 differs from the manifest's"
            )

    def _append(self, name: str, path: Path, entry: FileEntry) -> bool:
        """Download what a file lacks; whether it is whole then."""
        digest, began_bytes = hashlib.sha256(), self._done_bytes
        with path.open("a+b") as file:
            file.seek(0)
            n_bytes = 0
            while part := file.read(_HASHED_BYTES):
                digest.update(part)
                n_bytes += len(part)
            if n_bytes < entry.size_bytes:
                for start, part in self._store.parts(name, n_bytes):
                    if start < n_bytes:  # the file system began anew
                        file.truncate(0)
                        digest, n_bytes = hashlib.sha256(), 0
                    file.write(part)
                    digest.update(part)
                    n_bytes += len(part)
                    self._done_bytes = began_bytes + n_bytes
                    self._report(self._done_bytes, self._total_bytes)
                    if n_bytes > entry.size_bytes:
                        break
        is_whole = n_bytes == entry.size_bytes and digest.hexdigest() == entry.sha256
        self._done_bytes = began_bytes + (entry.size_bytes if is_whole else 0)
        self._report(self._done_bytes, self._total_bytes)
        return is_whole


# --- the process ----------------------------------------------------------------------------


def main() -> int:
    """Do what the order on standard input says; the answer is lines of JSON."""
    die_with_parent()
    order = Order.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if order.yields:
        os.nice(LOWEST_NICENESS)
    next_s = 0.0

    def report(done: int, total: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + REPORT_S
            _tell({"done": done, "total": total})

    try:
        _tell({"folder": str(download(order, report))})
    except LongtailError as error:
        _tell({"error": str(error)})
    return 0


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # until the parent closes it, or ends
    os._exit(1)


def _tell(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
