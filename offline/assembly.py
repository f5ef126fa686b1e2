"""Assembles a bundle from the stages' files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter
from model_store.errors import BundleError, LongtailError
from model_store.event_rules import EventsInfo
from model_store.files import replace_folder
from model_store.knowledge_texts import TEXT_FILES
from model_store.manifest import EncoderInfo
from offline.artifact import Artifact
from offline.recipe import Recipe
from offline.revision import code_revision
from offline.stages.data import DataArtifact
from offline.stages.dislikes import DislikesArtifact
from offline.stages.encoding import EncodingArtifact
from offline.stages.evaluation import EvaluationArtifact
from offline.stages.export import ExportArtifact
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.label_graph import LabelGraphArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.reranker import RerankerArtifact
from offline.stages.text_encoder import TextEncoderArtifact


class Parts(Protocol):
    """What a bundle of any kind is assembled from."""

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each part, for the manifest."""
        ...

    def files(self) -> dict[str, Path]:
        """The source of each file of the bundle, by its name there."""
        ...

    def describe(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of the manifest: all but the version and the files."""
        ...


@dataclass(frozen=True)
class BundleParts:
    """The artifacts of a bundle; `recommender` is the exported one.

    `text_encoder` is None where texts are not encoded; `language_model` and `reranker` are both
    there, or neither. `dislikes` is None where no interaction is negative.
    """

    data: DataArtifact
    knowledge: KnowledgeArtifact
    encoding: EncodingArtifact
    text_encoder: TextEncoderArtifact | None
    recommender: RecommenderArtifact
    evaluation: EvaluationArtifact
    exported: ExportArtifact
    language_model: LabelGraphArtifact | None = None
    reranker: RerankerArtifact | None = None
    dislikes: DislikesArtifact | None = None

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each part, for the manifest."""
        parts = [part for part in self.__dict__.values() if part is not None]
        return {part.name: part.fingerprint for part in parts}

    def files(self) -> dict[str, Path]:
        """The source of each file of the bundle, by its name there."""
        return gather_files(self)

    def describe(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """See `Parts.describe`."""
        return _described(self, configuration)


def write_bundle(
    folder: Path,
    parts: Parts,
    configuration: Mapping[str, Any],
    log: Callable[[str], None],
) -> Path:
    """Write the bundle into `folder`, unless the one there has the same parts.

    Raises:
        BundleError: the parts don't give a complete bundle.
    """
    if _is_current(folder, parts):
        log(f"bundle: unchanged, {folder}")
        return folder
    fresh = folder.with_name(f".{folder.name}.next")
    shutil.rmtree(fresh, ignore_errors=True)
    version = _free_version(log)
    with BundleWriter(fresh) as writer:
        for name, source in parts.files().items():
            writer.add(name, source)
        bundle = writer.finish(version=version, **parts.describe(configuration))
    replace_folder(folder, fresh)
    log(f"bundle: {bundle.version}, {len(bundle.manifest.files)} files, {folder}")
    return folder


def _free_version(log: Callable[[str], None]) -> str:
    # Imported when needed: a build with nothing to do needs no store.
    from model_store.placing import next_version
    from model_store.publication import bundles_folder

    today = datetime.now(UTC).date()
    try:
        return next_version(bundles_folder(), today)
    except LongtailError as error:
        # A build needs no network; publishing gives the bundle another version if need be.
        log(f"WARNING: which versions are published can't be seen: {error}")
        return f"{today.isoformat()}-1"


def _is_current(folder: Path, parts: Parts) -> bool:
    try:
        return Bundle.open(folder).manifest.inputs == parts.fingerprints()
    except BundleError:
        return False


def gather_files(parts: BundleParts) -> dict[str, Path]:
    """The source of each file of the bundle, by its name there."""
    data, exported = parts.data, parts.exported
    retriever = files.RETRIEVER_FILES if exported.retriever() else ()
    reranker = {}
    if parts.language_model and parts.reranker:
        reranker = {
            files.RERANKER: parts.language_model.path(parts.language_model.GRAPH),
            files.RERANKER_TOKENIZER: parts.language_model.path(parts.language_model.TOKENIZER),
            files.USER_VECTORS: parts.reranker.path(parts.reranker.USER_VECTORS),
        }
    encoder = {}
    if parts.text_encoder:
        encoder = {
            files.FRESH_PROJECTION: exported.path(exported.FRESH_PROJECTION),
            files.KNOWLEDGE_VECTORS: parts.encoding.path(parts.encoding.VECTORS),
            files.TEXT_ENCODER: parts.text_encoder.path(parts.text_encoder.GRAPH),
            files.TOKENIZER: parts.text_encoder.path(parts.text_encoder.TOKENIZER),
        }
    texts = TEXT_FILES if parts.knowledge.info() else ()
    typed = {}
    if data.event_types():
        names = ("user_ids.json", "offsets.npy", "items.npy", "timestamps.npy", "kinds.npy")
        paths = (data.path(data.TYPED) / name for name in names)
        typed = dict(zip(files.TYPED_EVENTS, paths, strict=True))
    return {
        **reranker,
        **typed,
        **encoder,
        **{name: parts.knowledge.path(name) for name in texts},
        **{name: exported.path(name) for name in retriever},
        files.MODEL: exported.path(exported.MODEL),
        files.ITEM_TABLE: exported.path(exported.ITEM_TABLE),
        files.GOLDEN: exported.path(exported.GOLDEN),
        files.ITEM_IDS: data.path(data.ITEM_IDS),
        files.ATTRIBUTES: data.path(data.ATTRIBUTES),
        files.USER_IDS: data.path(data.USER_IDS),
        files.USER_OFFSETS: data.path(data.OFFSETS),
        files.USER_ITEMS: data.path(data.ITEMS),
        files.USER_TIMESTAMPS: data.path(data.TIMESTAMPS),
        files.POPULARITY: parts.recommender.path(parts.recommender.POPULARITY),
        files.REPORT: parts.evaluation.path(parts.evaluation.REPORT),
    }


def _described(parts: BundleParts, configuration: Mapping[str, Any]) -> dict[str, Any]:
    exported = parts.exported
    table = np.load(exported.path(exported.ITEM_TABLE), mmap_mode="r", allow_pickle=False)
    offsets = np.load(parts.data.path(parts.data.OFFSETS), mmap_mode="r", allow_pickle=False)
    recipe = Recipe.model_validate(configuration["recipe"])
    repeats = recipe.data.repeats
    model = exported.model_info().model_copy(update={"repeats": repeats})
    test = parts.evaluation.report()["models"][model.name]["test"]["all"]
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": parts.recommender.kind,
        "model": model,
        "encoder": _encoder_info(parts, recipe),
        "knowledge": parts.knowledge.info(),
        "retriever": exported.retriever(),
        "reranker": parts.reranker.info() if parts.reranker else None,
        "events": EventsInfo(
            rules=recipe.events,
            types=parts.data.event_types(),
            dislike_weight=parts.dislikes.weight if parts.dislikes else 0.0,
        ),
        "n_items": len(table) - 1,
        "n_users": len(offsets) - 1,
        "metrics": {name: value for name, value in test.items() if value == value},
        "inputs": parts.fingerprints(),
        "configuration": dict(configuration),
        "code_revision": code_revision(),
    }


def _encoder_info(parts: BundleParts, recipe: Recipe) -> EncoderInfo | None:
    if parts.text_encoder is None:
        return None
    name = name_encoder(recipe.encoding.encoder, parts.text_encoder, is_tuned=recipe.tunes_encoder)
    return EncoderInfo(name=name, vector_size=parts.encoding.vectors().shape[1], has_graph=True)


def name_encoder(name: str, encoder: Artifact, *, is_tuned: bool) -> str:
    """The text encoder's name in a manifest; equal names mean the same vector space.

    A tuned encoder, or one in a folder, may change: its name includes the fingerprint of its
        export, which covers its files.

    Args:
        name: the recipe's.
        encoder: as it was exported.
        is_tuned: on the build's own behaviour, or in an alignment.
    """
    if is_tuned:
        return f"{name}, tuned {encoder.fingerprint[:12]}"
    return f"{name}, {encoder.fingerprint[:12]}" if Path(name).is_dir() else name
