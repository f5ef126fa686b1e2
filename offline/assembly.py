"""Putting a bundle together from the stages' files."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from model_store import bundle as files
from model_store.bundle import Bundle, BundleWriter
from model_store.errors import BundleError
from model_store.manifest import EncoderInfo, ModelInfo, RetrieverInfo
from model_store.publication import bundles_folder, next_version
from offline.artifact import Artifact
from offline.stage_files import VECTORS, read_vectors


@dataclass(frozen=True)
class BundleParts:
    """The artifacts that a bundle is made of; `model` is the one that was exported."""

    data: Artifact
    vectors: Artifact
    encoder: Artifact
    model: Artifact
    report: Artifact
    exported: Artifact

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each part, for the manifest."""
        return {part.folder.name: part.fingerprint for part in self.__dict__.values()}


def write_bundle(
    folder: Path,
    parts: BundleParts,
    configuration: Mapping[str, Any],
    log: Callable[[str], None],
) -> Path:
    """Write the bundle into `folder`, unless the one there is made of the same parts.

    Raises:
        BundleError: the parts don't make a whole bundle.
    """
    if _is_current(folder, parts):
        log(f"bundle: unchanged, {folder}")
        return folder
    fresh = folder.with_name(f".{folder.name}.next")
    shutil.rmtree(fresh, ignore_errors=True)
    version = next_version(bundles_folder(), datetime.now(UTC).date())
    with BundleWriter(fresh) as writer:
        for name, source in gather_files(parts).items():
            writer.add(name, source)
        bundle = writer.finish(version=version, **_described(parts, configuration))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    log(f"bundle: {bundle.version}, {len(bundle.manifest.files)} files, {folder}")
    return folder


def _is_current(folder: Path, parts: BundleParts) -> bool:
    try:
        return Bundle.open(folder).manifest.inputs == parts.fingerprints()
    except BundleError:
        return False


def gather_files(parts: BundleParts) -> dict[str, Path]:
    """Where each file of the bundle lies, by its name there."""
    data = parts.data
    retriever = files.RETRIEVER_FILES if read_retriever(parts) else ()
    return {
        **{name: parts.exported.path(name) for name in retriever},
        files.MODEL: parts.exported.path("model.onnx"),
        files.ITEM_TABLE: parts.exported.path("item_table.npy"),
        files.FRESH_PROJECTION: parts.exported.path("fresh_projection.npy"),
        files.GOLDEN: parts.exported.path("golden.json"),
        files.ITEM_IDS: data.path("item_ids.json"),
        files.ATTRIBUTES: data.path("attributes.json"),
        files.POPULARITY: parts.model.path("popularity.npy"),
        files.KNOWLEDGE_VECTORS: parts.vectors.path(VECTORS),
        files.USER_IDS: data.path("user_ids.json"),
        files.USER_OFFSETS: data.path("offsets.npy"),
        files.USER_ITEMS: data.path("items.npy"),
        files.USER_TIMESTAMPS: data.path("timestamps.npy"),
        files.TEXT_ENCODER: parts.encoder.path("text_encoder.onnx"),
        files.TOKENIZER: parts.encoder.path("tokenizer.json"),
        files.REPORT: parts.report.path("report.json"),
    }


def _described(parts: BundleParts, configuration: Mapping[str, Any]) -> dict[str, Any]:
    table = np.load(parts.exported.path("item_table.npy"), mmap_mode="r", allow_pickle=False)
    model = json.loads(parts.model.path("config.json").read_bytes())
    rows, size = table.shape
    report = json.loads(parts.report.path("report.json").read_bytes())
    test = report["models"][model["name"]]["test"]["all"]
    recipe = configuration["recipe"]
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": ModelInfo.of_sequence_graph(model["name"], size, model["config"]["max_length"]),
        "encoder": EncoderInfo(
            name=name_encoder(
                recipe["encoding"]["encoder"],
                parts.encoder,
                is_tuned=bool(recipe["behaviour"]["stages"]),
            ),
            vector_size=read_vectors(parts.vectors).shape[1],
            has_graph=True,
        ),
        "retriever": read_retriever(parts),
        "n_items": rows - 1,
        "n_users": len(np.load(parts.data.path("offsets.npy"), allow_pickle=False)) - 1,
        "metrics": {name: value for name, value in test.items() if value == value},
        "inputs": parts.fingerprints(),
        "configuration": dict(configuration),
        "code_revision": code_revision(),
    }


def name_encoder(name: str, encoder: Artifact, *, is_tuned: bool) -> str:
    """What a manifest calls the text encoder; of one name are only those of one space.

    One that was tuned, or lies in a folder, may be another the next time: the fingerprint of its
    export, made of its files, tells them apart.

    Args:
        name: the recipe's.
        encoder: as it was exported.
        is_tuned: on the build's own behaviour.
    """
    if is_tuned:
        return f"{name}, tuned {encoder.fingerprint[:12]}"
    return f"{name}, {encoder.fingerprint[:12]}" if Path(name).is_dir() else name


def read_retriever(parts: BundleParts) -> RetrieverInfo | None:
    """What the export says of a retriever, where it made one."""
    path = parts.exported.path("retriever.json")
    return RetrieverInfo.model_validate_json(path.read_bytes()) if path.is_file() else None


def code_revision() -> str:
    """The commit this runs from, with `-dirty` if files differ from it; else the version."""
    root = Path(__file__).parent.parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        return described.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return metadata.version("longtail")
