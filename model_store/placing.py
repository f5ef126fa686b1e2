"""Puts a bundle among the published ones: into a folder, or to a URL."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path

from model_store.bundle import MANIFEST, Bundle
from model_store.bundle_writer import copy_bundle
from model_store.errors import BundleError, BundleUnavailable
from model_store.files import write_atomically
from model_store.manifest import Manifest
from model_store.object_store import ObjectStore
from model_store.remote_bundles import SETTING, Bundles, RemoteBundles, check_sizes
from model_store.signatures import SIGNATURE, read_signature

log = logging.getLogger(__name__)

CLAIM = "manifest.sha256"
"""At a URL, of the manifest whose files are in its folder; there before them."""

Report = Callable[[str, int, int], None]
"""Called as (name of the work, done, total) during long work."""


def next_version(bundles: Bundles, day: date) -> str:
    """The first free `<day>-<n>` among published bundles."""
    if isinstance(bundles, RemoteBundles):
        return bundles.next_version(day)
    names = (f"{day.isoformat()}-{n}" for n in count(1))
    return next(version for version in names if not (bundles / version).exists())


def place(source: Bundle, bundles: Bundles, report: Report) -> tuple[Bundle, str]:
    """Have a bundle among the published ones: there already, or copied.

    Args:
        source: the bundle.
        bundles: where to.
        report: called during an upload.

    Returns:
        The bundle under the version that it has there, in a folder of this machine; and the place
        of the published one.

    Raises:
        BundleError: it is signed, and another one has its version.
        BundleUnavailable: the place can't be reached.
    """
    source.histories()  # checked before anything is written
    if isinstance(bundles, RemoteBundles):
        version = _upload(source, bundles, report)
        renamed = source.manifest.model_copy(update={"version": version})
        return Bundle(source.folder, renamed), bundles.url_of(version)
    placed = _copy(source, bundles)
    return placed, str(placed.folder)


def can_stand_for(content: bytes, shown: Path | str, source: Bundle) -> bool:
    """Whether a published bundle can answer in the place of another one.

    It gives the same answers; in the place of a signed one, it has the same manifest.

    Args:
        content: bytes of the published one's manifest.
        shown: where that is, for messages.
        source: the other one.

    Raises:
        BundleError: the manifest can't be used.
    """
    if read_signature(source.folder) is not None:
        return content == Manifest.read(source.folder / MANIFEST)
    return Manifest.parse(content, shown).answers_as(source.manifest)


def _copy(source: Bundle, folder: Path) -> Bundle:
    if source.folder.parent.resolve() == folder.resolve():
        return source
    signature = read_signature(source.folder)
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            if can_stand_for(Manifest.read(path), path, source):
                bundle = Bundle.open(path.parent)
                if signature is not None and signature != read_signature(bundle.folder):
                    write_atomically(bundle.folder / SIGNATURE, signature)
                return bundle
        except BundleError as error:
            log.warning("ignoring a broken bundle: %s", error)
    version = source.version
    if (folder / version).exists():
        if signature is not None:
            raise _taken(version, folder)
        version = next_version(folder, _today())
    try:
        return copy_bundle(source, folder / version, version=version)
    except OSError as error:
        reason = error.strerror or error
        raise BundleUnavailable(f"{SETTING} {str(folder)!r}: {reason}") from error


def _upload(source: Bundle, bundles: RemoteBundles, report: Report) -> str:
    """The version under which a bundle is at the URL: there already, or uploaded."""
    store, signature = bundles.store, read_signature(source.folder)
    folders = [name for name, size_bytes in store.list().items() if size_bytes is None]
    manifests = store.read_all([f"{name}/{MANIFEST}" for name in folders])
    there = _find_alike(source, manifests, store)
    if there is not None:
        _write(source, bundles, there, _missing(source, store.list(there)), report)
        if signature is not None:
            store.write(f"{there}/{SIGNATURE}", signature)
        return there
    version = source.version
    if signature is None:
        begun = [name for name in folders if f"{name}/{MANIFEST}" not in manifests]
        version = _find_begun(source, begun, store) or version
    content = _manifest_as(source, version)
    while f"{version}/{MANIFEST}" in manifests or not _claim(version, content, store):
        if signature is not None:
            if store.read_optional(f"{version}/{MANIFEST}") is None:
                raise _begun(version, bundles)
            raise _taken(version, bundles.url)
        version = bundles.next_version(_today())
        content = _manifest_as(source, version)
    # All of them: what another upload left there may be of other bundles.
    _write(source, bundles, version, [*source.manifest.files], report)
    if signature is not None:
        store.write(f"{version}/{SIGNATURE}", signature)
    # Last: without a manifest, what is there is no version. Some file systems let two uploads claim
    # a folder in one moment, and the second to do so has it.
    if not _claim(version, content, store):
        raise BundleUnavailable(f"{bundles.url_of(version)}: another upload took it; publish again")
    if not _put_once(f"{version}/{MANIFEST}", content, store):
        raise _taken(version, bundles.url)
    return version


def _find_alike(source: Bundle, manifests: Mapping[str, bytes], store: ObjectStore) -> str | None:
    """The version at a URL that can answer in the place of a bundle, if there is one."""
    for name, found in sorted(manifests.items()):
        try:
            if can_stand_for(found, store.place(name), source):
                return name.removesuffix(f"/{MANIFEST}")
        except BundleError as error:
            log.warning("ignoring a broken bundle: %s", error)
    return None


def _find_begun(source: Bundle, versions: Sequence[str], store: ObjectStore) -> str | None:
    """The version as which an upload of a bundle was begun, if there is one.

    Args:
        source: the bundle.
        versions: folders without a manifest.
        store: where they are.
    """
    claims = store.read_all([f"{version}/{CLAIM}" for version in versions])
    for name, claim in sorted(claims.items()):
        version = name.removesuffix(f"/{CLAIM}")
        if claim == _digest(_manifest_as(source, version)):
            return version
    return None


def _manifest_as(source: Bundle, version: str) -> bytes:
    """The bytes of a bundle's manifest under a version."""
    if version == source.version:
        return Manifest.read(source.folder / MANIFEST)
    return source.manifest.model_copy(update={"version": version}).to_json()


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _claim(version: str, content: bytes, store: ObjectStore) -> bool:
    """Have a version's folder at a URL take the files of this manifest, and of no other.

    Returns:
        False where those of another one may be there.
    """
    return _put_once(f"{version}/{CLAIM}", _digest(content), store)


def _put_once(name: str, content: bytes, store: ObjectStore) -> bool:
    """Write a file where there is none; whether it has this content then."""
    found = store.read_optional(name)
    if found is None:
        try:
            store.create(name, content)
        except BundleUnavailable:
            raise
        except BundleError:
            pass  # another upload was there first
        # Read again in any case: where a file system can't create, another one may be written over.
        found = store.read(name)
    return found == content


def _missing(source: Bundle, sizes: Mapping[str, int | None]) -> list[str]:
    """The files of a bundle that are not there, or of another size."""
    return [
        name for name, entry in source.manifest.files.items() if sizes.get(name) != entry.size_bytes
    ]


def _write(
    source: Bundle, bundles: RemoteBundles, version: str, names: Sequence[str], report: Report
) -> None:
    """Upload some files, over what is there, and see that all have their sizes then."""
    store, done = bundles.store, 0
    total = sum(source.manifest.files[name].size_bytes for name in names)
    for name in names:
        began = done
        store.put(
            source.folder / name,
            f"{version}/{name}",
            lambda n_bytes, began=began: report("bytes", began + n_bytes, total),  # type: ignore[misc]
        )
        done = began + source.manifest.files[name].size_bytes
        report("bytes", done, total)
    if names:
        try:
            check_sizes(source.manifest, store.list(version), bundles.url_of(version))
        except BundleError as error:
            raise BundleUnavailable(f"not all of it was uploaded: {error}") from None


def _today() -> date:
    return datetime.now(UTC).date()


def _taken(version: str, shown: Path | str) -> BundleError:
    return BundleError(
        f"{shown}: holds another bundle of version {version!r}, and a signed one can't be renamed; "
        "`longtail bundle sign --version` gives it another one"
    )


def _begun(version: str, bundles: RemoteBundles) -> BundleError:
    return BundleError(
        f"{bundles.url_of(version)}: an upload of another bundle of this version was begun and did "
        "not end, and a signed one can't be renamed; if none is under way, remove that folder, or "
        "`longtail bundle sign --version` gives this one another version"
    )
