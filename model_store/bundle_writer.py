"""Writes a bundle: all of its files, or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model_store.bundle import MANIFEST, Bundle
from model_store.errors import BundleError
from model_store.files import copy_file, hash_file
from model_store.manifest import FileEntry, Manifest
from model_store.signatures import SIGNATURE


def copy_bundle(source: Bundle, folder: Path, *, version: str | None = None) -> Bundle:
    """Copy a bundle with its signature, or under another version, which nobody has signed.

    Raises:
        BundleError: there is something at `folder` already, or a file differs from the
            manifest; nothing is left behind then.
    """
    manifest = source.manifest
    with BundleWriter(folder) as writer:
        for name in manifest.files:
            writer.add(name, source.folder / name)
        if version is None or version == source.version:
            return writer.finish_copy(source)
        fields = manifest.model_dump(exclude={"files", "version", "schema_version"})
        return writer.finish(version=version, expected=manifest.files, **fields)


class BundleWriter:
    """Writes a bundle under a temporary name and moves it into place when it is complete.

        with BundleWriter(folder) as writer:
            writer.add("model.onnx", path)
            writer.write("golden.json", lambda path: path.write_text(...))
            bundle = writer.finish(version=..., model=..., ...)

    Without `finish`, nothing is left behind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")

    def __enter__(self) -> BundleWriter:
        if self.folder.exists():
            raise BundleError(f"{self.folder}: there is a bundle already")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)

    def add(self, name: str, source: Path) -> None:
        """Put a copy of a file in."""
        copy_file(source, self._partial / name)

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Have a function write the file `name`."""
        write(self._partial / name)

    def finish(
        self, *, version: str, expected: Mapping[str, FileEntry] | None = None, **fields: Any
    ) -> Bundle:
        """Hash the files, write the manifest, check the whole and move it into place.

        Args:
            version: of the bundle.
            expected: the files' entries in the manifest of a bundle that was checked.
            fields: the manifest's other fields.

        Raises:
            BundleError: a required file is missing or damaged, or is not as expected.
        """
        files = self._hash(expected or {})
        Manifest(version=version, files=files, **fields).save(self._partial / MANIFEST)
        return self._move(is_checked=expected is not None)

    def finish_copy(self, source: Bundle) -> Bundle:
        """Copy the manifest of a checked bundle to its files, byte for byte, and its signature.

        Raises:
            BundleError: a file is not as that manifest says.
        """
        self._hash(source.manifest.files)
        for name in (MANIFEST, SIGNATURE):
            if name == MANIFEST or (source.folder / name).exists():
                self.add(name, source.folder / name)
        return self._move(is_checked=True)

    def _hash(self, expected: Mapping[str, FileEntry]) -> dict[str, FileEntry]:
        files = {
            path.name: FileEntry(sha256=hash_file(path), size_bytes=path.stat().st_size)
            for path in sorted(self._partial.iterdir())
        }
        for name, entry in expected.items():
            if files.get(name) != entry:
                raise BundleError(f"{self.folder / name}: differs from the manifest")
        return files

    def _move(self, *, is_checked: bool) -> Bundle:
        bundle = Bundle.open(self._partial, verify=False)
        if not is_checked:
            bundle.check_contents()
        self._partial.replace(self.folder)
        return Bundle.open(self.folder, verify=False)
