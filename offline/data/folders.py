"""Finds the files of a table in a folder: one that is known by name, or the parts of one table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

from model_store.errors import InputError
from offline.data.byte_streams import without_packing

INTERACTION_FILES = (
    *("interactions.parquet", "interactions.csv", "interactions.tsv", "interactions"),
    *("ratings.dat", "u.data", "ratings.csv", "*.inter"),
)
ITEM_FILES = (
    *("items.parquet", "items.csv", "items.tsv", "items"),
    *("movies.dat", "u.item", "movies.csv", "*.item"),
)
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
SHOWN_FILES = 5
# Hive writes this for a missing value.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class PartFile:
    """A file of a table, and the columns that the names of its folders give."""

    path: Path
    given: Mapping[str, str | None]


def find_table(folder: Path, names: Sequence[str], others: Sequence[str], what: str) -> Path:
    """The file or folder of parts that holds a table; the folder itself if its files are parts.

    Args:
        folder: to look in.
        names: what such a table is called, as patterns.
        others: what other tables next to it are called.
        what: the table, for messages.

    Raises:
        InputError: there is none, or there are several.
    """
    known = find_known(folder, names)
    if len(known) == 1:
        return known[0]
    if known:
        raise InputError(
            f"{folder}: both {known[0].name} and {known[1].name} could be the {what}; name the file"
        )
    found = [p for p in part_files(folder) if not _is_called(p.path, others)]
    if not found:
        raise InputError(f"{folder}: holds no {what} (looked for {', '.join(names)})")
    if len(found) == 1:
        return found[0].path
    if _are_parts(folder, found):
        return folder
    shown = ", ".join(str(p.path.relative_to(folder)) for p in found[:SHOWN_FILES])
    more = ", …" if len(found) > SHOWN_FILES else ""
    raise InputError(
        f"{folder}: any of its {len(found)} files could be the {what} ({shown}{more}); "
        "name the file"
    )


def find_known(folder: Path, names: Sequence[str]) -> list[Path]:
    """Files and folders that are called by one of `names`, packed or not."""
    visible = [path for path in sorted(folder.iterdir()) if _is_visible(path)]
    matches = [
        path
        for name in names
        for path in visible
        if fnmatch(without_packing(path.name), name) and (path.is_file() or part_files(path))
    ]
    found = list(dict.fromkeys(matches))  # u.item matches twice
    # RecBole's folders may hold parts next to the whole, which is named like the folder.
    whole = [path for path in found if path.stem == folder.resolve().name]
    return whole if len(whole) == 1 else found


def part_files(folder: Path) -> list[PartFile]:
    """Tables in a folder and in those of its partitions, by name; marks and hidden files aside."""
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        folders = [part.partition("=") for part in inner.parts[:-1]]
        if not path.is_file() or not all(map(_is_visible, (path, *map(Path, inner.parts)))):
            continue
        if any(not equals for _, equals, _ in folders):
            continue  # a folder of something else
        is_table = without_packing(path.name).lower().endswith(TABLE_SUFFIXES)
        # Hive, Redshift and BigQuery number their parts and give them no suffix.
        if is_table or (re.search(r"\d", path.name) and not path.suffix):
            given = {key: None if v == NO_VALUE else unquote(v) for key, _, v in folders}
            found.append(PartFile(path, given))
    return [part for part in found if part.path.stat().st_size] or found


def _is_called(path: Path, names: Sequence[str]) -> bool:
    return any(fnmatch(without_packing(path.name), name) for name in names)


def _is_visible(path: Path) -> bool:
    return not path.name.startswith((".", "_"))


def _are_parts(folder: Path, files: Sequence[PartFile]) -> bool:
    """Whether files are numbered, or marked by who wrote them as one table."""
    if (folder / "_SUCCESS").exists() or all(file.given for file in files):
        return True
    # What numbers, dates and random ids leave of the names.
    shapes = {re.sub(r"[0-9a-f]{8,}|\d+", "#", file.path.name) for file in files}
    return len(shapes) == 1 and "#" in shapes.pop()
