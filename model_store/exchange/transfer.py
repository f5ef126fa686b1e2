"""Pushing a bundle to a place and pulling it from there; what is pulled is verified."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from model_store.bundle import MANIFEST, Bundle
from model_store.errors import BundleError, BundleUnavailable, ConfigError
from model_store.exchange.card import model_card
from model_store.exchange.folder import FolderPlace
from model_store.exchange.hub import SCHEME as HUB
from model_store.exchange.hub import HubPlace
from model_store.exchange.mlflow_registry import SCHEME as MLFLOW
from model_store.exchange.mlflow_registry import MlflowPlace
from model_store.exchange.place import Place, Pushed
from model_store.files import make_folder, write_atomically
from model_store.manifest import Manifest
from model_store.signatures import SIGNATURE, Trust, read_signature


def read_place(text: str, *, public: bool = False) -> Place:
    """The place that a text names.

    Args:
        text: `hf://OWNER/NAME[@REVISION]`, `mlflow:NAME[/VERSION]`, `mlflow:NAME@ALIAS`, or a
            folder.
        public: whether bundles may go where everybody can read them.

    Raises:
        ConfigError: it names none.
    """
    if text.startswith(HUB):
        return HubPlace.parse(text, public=public)
    if text.startswith(MLFLOW):
        return MlflowPlace.parse(text)
    return FolderPlace(Path(text))


def push(bundle: Bundle, place: Place, trust: Trust) -> Pushed:
    """Write a bundle to a place, with a card.

    Raises:
        BundleError: it isn't signed as asked, or another one has its version there.
        BundleUnavailable: the place can't be reached, or rejects it.
        ConfigError: the place's client is not installed.
    """
    content = Manifest.read(bundle.folder / MANIFEST)
    trust.check(bundle.folder, bundle.version, content)
    is_signed = read_signature(bundle.folder) is not None
    return place.push(bundle, model_card(bundle.manifest, str(place), is_signed=is_signed))


def pull(place: Place, out: Path, trust: Trust) -> Bundle:
    """The bundle that is at a place, in a folder of its version below `out`.

    The manifest and its signature come first; no file is taken that the manifest doesn't name, and
    all are compared with it before the folder has its name.

    Raises:
        BundleError: what is there is damaged, or isn't signed as asked; or the folder of its
            version is another bundle's.
        BundleUnavailable: nothing is there, or the place can't be reached.
        ConfigError: the place's client is not installed, or `out` can't be written.
    """
    snapshot = place.look()
    if MANIFEST not in snapshot.names:
        raise BundleUnavailable(f"{place}: there is no {MANIFEST}")
    # Of the same name the next time: what is there already is not downloaded again.
    partial = out / f".pulling-{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
    try:
        make_folder(partial)
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror}") from None
    try:
        (partial / SIGNATURE).unlink(missing_ok=True)  # it may be that of another manifest
        snapshot.fetch([name for name in (MANIFEST, SIGNATURE) if name in snapshot.names], partial)
        content = Manifest.read(partial / MANIFEST)
        manifest = Manifest.parse(content, f"{place}: {MANIFEST}")
        trust.check(partial, manifest.version, content)
        if missing := sorted(manifest.files.keys() - snapshot.names):
            raise BundleUnavailable(f"{place}: {missing[0]}: is in the manifest but not there")
        folder = out / manifest.version
        if folder.exists():
            return _existing(folder, content, trust, partial)
        snapshot.fetch(sorted(manifest.files), partial)
        _remove_others(partial, {*manifest.files, MANIFEST, SIGNATURE})
        Bundle.open(partial, trust=trust)
        partial.rename(folder)
    except BundleUnavailable:
        raise  # the next attempt goes on with what is there
    except BundleError as error:
        shutil.rmtree(partial, ignore_errors=True)
        # What is there is damaged; the copy of it has no name that anybody knows.
        raise BundleError(str(error).replace(f"{partial}/", f"{place}: ")) from None
    except OSError as error:
        raise BundleUnavailable(f"{partial}: can't be written ({error.strerror})") from error
    return Bundle(folder, manifest)


def _existing(folder: Path, content: bytes, trust: Trust, partial: Path) -> Bundle:
    """The bundle that has the version's folder already, if it is the same one and sound.

    A signature that was pulled is written beside its manifest.
    """
    if Manifest.read(folder / MANIFEST) != content:
        raise BundleError(f"{folder}: is another bundle's already")
    signature = read_signature(partial)
    # One that nobody has checked replaces none.
    if signature is not None and (trust.is_required or read_signature(folder) is None):
        write_atomically(folder / SIGNATURE, signature)
    found = Bundle.open(folder, trust=trust)
    shutil.rmtree(partial)
    return found


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove what a client left beside the files that were asked for."""
    for entry in folder.iterdir():
        if entry.is_symlink() or (entry.name not in names and entry.is_file()):
            entry.unlink()
        elif entry.name not in names:
            shutil.rmtree(entry)
