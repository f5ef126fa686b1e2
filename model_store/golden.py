"""Golden requests: replayed whenever a bundle is loaded, they must get the same answers."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from model_store.errors import BundleError
from model_store.id_map import IdMap
from model_store.reading import bundle_errors, read_json

TOLERANCE = 1e-3
"""Tolerance of scores on another processor, for each unit of a score above 1."""


@dataclass(frozen=True)
class GoldenRequest:
    """A request with the bundle's answer at its build; seen items excluded."""

    history: tuple[str, ...]
    k: int
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def tolerance(self) -> float:
        """The tolerance of a score."""
        return TOLERANCE * max(1.0, *map(abs, self.scores))


@dataclass(frozen=True)
class GoldenRatings:
    """A user of the bundle and items with the ratings that were predicted at its build."""

    user_id: str
    item_ids: tuple[str, ...]
    ratings: tuple[float, ...]


def read_golden_ratings(
    path: Path, item_ids: IdMap, user_ids: Collection[str]
) -> tuple[GoldenRatings, ...]:
    """The golden requests of a bundle of kind rating.

    Raises:
        BundleUnavailable: the file can't be read now.
        BundleError: it holds none, or an invalid one.
    """
    entries = _read_entries(path)
    with bundle_errors(path, "malformed"):
        found = []
        for number, entry in enumerate(entries):
            items, ratings = tuple(entry["item_ids"]), tuple(map(float, entry["ratings"]))
            one = GoldenRatings(entry["user_id"], items, ratings)
            unknown = [item_id for item_id in items if item_id not in item_ids]
            problem = None
            if one.user_id not in user_ids:
                problem = f"user {one.user_id!r:.100} is none of the bundle's"
            elif unknown or not items:
                problem = f"items {unknown!r:.100} are not in the id map" if items else "no items"
            elif len(items) != len(ratings) or not all(map(math.isfinite, ratings)):
                problem = f"{len(items)} items and {len(ratings)} ratings, or one is not finite"
            if problem:
                raise BundleError(f"{path}: golden request {number}: {problem}")
            found.append(one)
        return tuple(found)


def read_golden(path: Path, item_ids: IdMap) -> tuple[GoldenRequest, ...]:
    """The golden requests in a file.

    Raises:
        BundleUnavailable: the file can't be read now.
        BundleError: it holds none, or an invalid one.
    """
    entries = _read_entries(path)
    with bundle_errors(path, "malformed"):
        requests = tuple(map(_read_request, entries))
        for number, request in enumerate(requests):
            if problem := _find_problem(request, item_ids):
                raise BundleError(f"{path}: golden request {number}: {problem}")
    return requests


def _read_entries(path: Path) -> list[Any]:
    document = read_json(path)
    if not isinstance(document, list) or not document:
        raise BundleError(f"{path}: holds no golden request")
    return document


def _read_request(entry: Any) -> GoldenRequest:
    return GoldenRequest(
        tuple(entry["history"]),
        entry["k"],
        tuple(entry["item_ids"]),
        tuple(map(float, entry["scores"])),
    )


def _find_problem(request: GoldenRequest, item_ids: IdMap) -> str | None:
    named = (*request.history, *request.item_ids)
    unknown = [item_id for item_id in named if item_id not in item_ids]
    if unknown:
        return f"{unknown[0]!r:.100} and {len(unknown) - 1} more are not in the id map"
    if isinstance(request.k, bool) or not isinstance(request.k, int) or request.k < 1:
        return f"k is {request.k!r:.100}, expected a number from 1"
    if not request.k == len(request.item_ids) == len(request.scores):
        return f"{len(request.item_ids)} items and {len(request.scores)} scores for k {request.k}"
    if len(set(request.item_ids)) != request.k or not set(request.history).isdisjoint(
        request.item_ids
    ):
        return "an item is there twice, or was seen before"
    if not all(map(math.isfinite, request.scores)):
        return "a score is not finite"
    tolerance = request.tolerance
    if any(later > earlier + tolerance for earlier, later in pairwise(request.scores)):
        return "its scores do not fall"
    return None
