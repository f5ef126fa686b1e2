"""What a place for bundles must offer, and what all of them share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from model_store.bundle import MANIFEST, Bundle
from model_store.errors import BundleError, BundleUnavailable, ConfigError, LongtailError
from model_store.manifest import Manifest
from model_store.redaction import redact_urls
from model_store.signatures import SIGNATURE
from model_store.texts import first_line

CARD = "README.md"


@dataclass(frozen=True)
class Pushed:
    """What a push came to.

    Attributes:
        where: the bundle is, for people.
        was_there: already; nothing was changed then, but for its signature.
        got_signature: it was there without this one.
    """

    where: str
    was_there: bool = False
    got_signature: bool = False


class Snapshot(Protocol):
    """The files of one bundle at a place, as they were at one moment."""

    @property
    def names(self) -> frozenset[str]:
        """Of all files there."""

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Write some of them into a folder that is there; nothing of them is checked.

        Raises:
            BundleUnavailable: one can't be had.
        """


class Place(Protocol):
    """Where bundles are pushed to and pulled from."""

    def push(self, bundle: Bundle, card: str) -> Pushed:
        """Write the files of a bundle, and a card that describes it.

        Where the bundle is already, its signature is written if it has one, and it isn't there.

        Args:
            bundle: whose files were checked.
            card: Markdown with metadata, of `model_card`.

        Raises:
            BundleError: another bundle has its version there.
            BundleUnavailable: the place can't be reached, or rejects it.
            ConfigError: its client is not installed.
        """

    def look(self) -> Snapshot:
        """What is there now.

        Raises:
            BundleUnavailable: nothing is there, or the place can't be reached.
            ConfigError: its client is not installed.
        """


def files_of(bundle: Bundle) -> dict[str, Path]:
    """The files to push by name: those of the manifest, the manifest, its signature."""
    names = [*bundle.manifest.files, MANIFEST]
    if (bundle.folder / SIGNATURE).exists():
        names.append(SIGNATURE)
    return {name: bundle.folder / name for name in names}


def is_same(content: bytes, bundle: Bundle, where: str) -> bool:
    """Whether a manifest that is there is that of a bundle.

    Raises:
        BundleError: it has the bundle's version, and is another one's.
    """
    if content == Manifest.read(bundle.folder / MANIFEST):
        return True
    if Manifest.parse(content, where).version == bundle.version:
        raise BundleError(
            f"{where}: another bundle has the version {bundle.version!r} there already; "
            "`longtail bundle sign … --version` gives this one another"
        )
    return False


@contextmanager
def errors_of(where: object) -> Iterator[None]:
    """Turn whatever a client raises into one error that names the place."""
    try:
        yield
    except LongtailError:
        raise
    except ImportError as error:
        raise ConfigError(f"{where}: a package is not installed ({first_line(error)})") from None
    except Exception as error:
        shown = redact_urls(first_line(error)) or type(error).__name__
        raise BundleUnavailable(f"{where}: {shown}") from None
