"""The version that answers: its bundle, its recipe, and its weights where they are kept."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from model_store.bundle import ITEM_IDS, USER_IDS, Bundle
from model_store.deployments import DEFAULT
from model_store.errors import InputError
from model_store.files import remove_folder
from model_store.fresh_items import FreshItem, read_fresh
from model_store.publication import bundles_folder
from model_store.registry import Registry
from offline.artifact import MANIFEST
from offline.recipe import Recipe, recipe_of
from offline.stages.start import StartArtifact

_SERVED = ("refit", "recommender", "rating_refit", "rating")
"""Stages whose model a bundle may hold, the more likely one first."""
_OF_RATINGS = ("rating_refit", "rating")
KEPT_MODELS = 5


@dataclass(frozen=True)
class Running:
    """The version that answers.

    Attributes:
        version: its name.
        bundle: as it was published.
        recipe: that it was built by.
        item_kind: for prompts.
        fresh: items that it was given after its training.
    """

    version: str
    bundle: Bundle
    recipe: Recipe
    item_kind: str
    fresh: Sequence[FreshItem]

    @property
    def predicts_ratings(self) -> bool:
        """Whether it is of kind rating."""
        return self.bundle.manifest.kind == "rating"

    @property
    def has_reranker(self) -> bool:
        """Whether a language model reranks its answers."""
        return self.bundle.manifest.reranker is not None


def active_version(client: redis.Redis, model: str = DEFAULT) -> str:
    """The version that answers under a name.

    Raises:
        InputError: there is none.
    """
    version = Registry(client, model=model).active()
    if version is None and model != DEFAULT:
        raise InputError(
            f"no version is active under the name {model!r}, so there is none to compare with; "
            f"`longtail models activate VERSION --model {model}` makes one"
        )
    if version is None:
        raise InputError(
            "no version is active, so there is none to compare with; "
            "`longtail publish --bundle FOLDER --activate` publishes the first one"
        )
    return version


def open_running(version: str, client: redis.Redis) -> Running:
    """A published version, as far as a refresh needs it.

    Raises:
        RegistryError: it isn't published.
        BundleError: its bundle isn't there, or is damaged.
        InputError: it can't be refreshed.
    """
    bundle = Bundle.open(Registry(client).folder_of(version, bundles_folder()), verify=False)
    manifest = bundle.manifest
    recipe = recipe_of(manifest)
    size = manifest.encoder.vector_size if manifest.encoder else None
    fresh = [] if size is None else read_fresh(version, size, client)
    item_kind = str(manifest.configuration.get("item_kind", "item"))
    return Running(version, bundle, recipe, item_kind, fresh)


def named_versions(client: redis.Redis) -> set[str]:
    """Versions that operators are at work with, or may go back to, under any name.

    Of those that were active before it is the newest few: with promotions every night there are a
    hundred.

    Raises:
        StoreAway: the store can't be reached.
    """
    named: set[str] = set()
    for _, record in Registry(client).deployments():
        named.update(record.versions, record.previous[:KEPT_MODELS])
        for experiment in record.kept_experiments:
            named.update(experiment.versions)
    return named


def keep_weights(
    running: Running, places: list[Path], models: Path, needed: Collection[str] = ()
) -> StartArtifact | None:
    """The running model's weights, copied from where they were trained; None: they are not there.

    Args:
        running: the version.
        places: folders of stages that may have trained it.
        models: folder of the copies, one a version.
        needed: further versions whose copies stay.
    """
    kept = StartArtifact.open(models / running.version)
    if kept is not None:
        return kept
    for stage in _SERVED:
        wanted = running.bundle.manifest.inputs.get(stage)
        for place in places:
            if wanted is not None and _fingerprint_in(place / stage) == wanted:
                folder = running.bundle.folder
                # Only a predictor of ratings has rows of users.
                user_ids = folder / USER_IDS if stage in _OF_RATINGS else None
                kept_in = models / running.version
                StartArtifact.keep(place / stage, folder / ITEM_IDS, kept_in, user_ids)
                prune_weights(models, {running.version, *needed})
                return StartArtifact.open(models / running.version)
    return None


def _fingerprint_in(folder: Path) -> str | None:
    try:
        found = json.loads((folder / MANIFEST).read_bytes())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def prune_weights(models: Path, needed: Collection[str]) -> None:
    """Remove the oldest copies, of more than `KEPT_MODELS`.

    Args:
        models: folder of the copies.
        needed: versions whose copies stay, whatever their age.
    """
    copies = [one for one in models.iterdir() if one.is_dir()]
    others = [one for one in copies if one.name not in needed]
    oldest_first = sorted(others, key=lambda one: one.stat().st_mtime)
    for old in oldest_first[: max(0, len(copies) - KEPT_MODELS)]:
        remove_folder(old)
