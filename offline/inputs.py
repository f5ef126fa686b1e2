"""The data of a build: files, or a data set known by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from offline.cache import cache_folder
from offline.data.movielens_fetch import fetch_movielens_100k
from offline.data.namings import AS_FOUND, Naming
from offline.fingerprint import fingerprint_of, hash_inputs

if TYPE_CHECKING:
    from offline.knowledge.config import KnowledgeConfig

DEFAULT_ITEM_KIND = "item"


@dataclass(frozen=True)
class Source:
    """Files to read, and the kind of item for prompts.

    Attributes:
        interactions, items: the files.
        item_kind: such as film.
        data_set: name of a data set that is known by name.
        naming: what was said about the files' columns.
        events: an archive of events whose interactions are joined to these; None: there is none.
    """

    interactions: Path
    items: Path | None
    item_kind: str
    data_set: str | None = None
    naming: Naming = AS_FOUND
    events: Path | None = None

    def fingerprint(self) -> str:
        """sha256 over the files' bytes, and what was said about their columns.

        Raises:
            InputError: one of them isn't there.
        """
        content = hash_inputs(
            [path for path in (self.interactions, self.items, self.events) if path]
        )
        said = self.naming.describe()
        return fingerprint_of(content, said) if said else content

    def adapt(self, config: KnowledgeConfig) -> KnowledgeConfig:
        """The choices with the source's kind of item, where they have none of their own."""
        if config.item_kind != DEFAULT_ITEM_KIND:
            return config
        return config.model_copy(update={"item_kind": self.item_kind})


NAMED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "movielens-100k": (fetch_movielens_100k, "film"),
}
"""Data sets that are fetched: a function of the cache folder, and the kind of item."""


def find_source(
    interactions: str,
    items: str | None,
    item_kind: str | None,
    naming: Naming | None = None,
    events: Path | None = None,
) -> Source:
    """The source of a name or path; a named data set is fetched if it isn't in the cache.

    What is said about columns isn't about a named data set.

    Raises:
        FetchError: the data set can't be fetched.
    """
    if interactions in NAMED and items is None:
        fetch, kind = NAMED[interactions]
        path = fetch(cache_folder())
        return Source(path, None, item_kind or kind, interactions, events=events)
    return Source(
        Path(interactions),
        Path(items) if items else None,
        item_kind or DEFAULT_ITEM_KIND,
        naming=naming or AS_FOUND,
        events=events,
    )
