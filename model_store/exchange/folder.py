"""A folder in the layout of a Hugging Face repository: a bundle's files, and its card."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from model_store.bundle import MANIFEST, Bundle
from model_store.errors import BundleError, BundleUnavailable
from model_store.exchange.place import CARD, Pushed, errors_of, files_of, is_same
from model_store.files import make_folder, write_atomically
from model_store.manifest import Manifest
from model_store.signatures import SIGNATURE, read_signature


class FolderPlace:
    """One folder that holds one bundle; also a snapshot of the hub's cache, or a clone.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    @property
    def names(self) -> frozenset[str]:
        """Of all files there, links among them."""
        with errors_of(self):
            return frozenset(entry.name for entry in self._folder.iterdir() if entry.is_file())

    def push(self, bundle: Bundle, card: str) -> Pushed:
        """Write the files where no other bundle is; where this one is, its signature."""
        manifest = self._folder / MANIFEST
        if self._folder.resolve() == bundle.folder.resolve():
            raise BundleError(f"{self}: is the bundle's own folder")
        if not manifest.exists():
            with errors_of(self):
                self._copy(bundle, card)
            return Pushed(str(self))
        if not is_same(Manifest.read(manifest), bundle, str(self)):
            raise BundleError(f"{self}: holds another bundle; a folder holds one")
        signature = read_signature(bundle.folder)
        if signature in {None, read_signature(self._folder)}:
            return Pushed(str(self), was_there=True)
        with errors_of(self):
            self._write_card(card)
            write_atomically(self._folder / SIGNATURE, signature)
        return Pushed(str(self), was_there=True, got_signature=True)

    def _copy(self, bundle: Bundle, card: str) -> None:
        """Write all files, the manifest last and whole: without it, half a copy is no bundle."""
        files = files_of(bundle)
        make_folder(self._folder)
        (self._folder / SIGNATURE).unlink(missing_ok=True)  # of half a copy
        for name in files.keys() - {MANIFEST}:
            shutil.copyfile(files[name], self._folder / name)
        self._write_card(card)
        write_atomically(self._folder / MANIFEST, Manifest.read(files[MANIFEST]))

    def _write_card(self, card: str) -> None:
        write_atomically(self._folder / CARD, card.encode())

    def look(self) -> FolderPlace:
        """The folder itself."""
        if not self._folder.is_dir():
            raise BundleUnavailable(f"{self}: there is no such folder")
        return self

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Copy some files; links are followed."""
        for name in names:
            with errors_of(self._folder / name):
                shutil.copyfile(self._folder / name, folder / name)
