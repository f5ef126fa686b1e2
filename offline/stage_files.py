"""What stages leave for each other, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.attributes import ItemAttributes
from model_store.files import write_atomically
from model_store.id_map import IdMap
from offline.artifact import Artifact

VECTORS = "knowledge_vectors.npy"


def read_catalogue(data: Artifact) -> tuple[IdMap, ItemAttributes]:
    """The id map and the item attributes of a data artifact."""
    return IdMap.load(data.path("item_ids.json")), ItemAttributes.load(data.path("attributes.json"))


def read_vectors(encoding: Artifact) -> npt.NDArray[np.float32]:
    """Knowledge vectors float32 [N+1, K] of an encoding artifact."""
    vectors: npt.NDArray[np.float32] = np.load(encoding.path(VECTORS), allow_pickle=False)
    return vectors


def read_json(path: Path) -> Any:
    """A JSON file of a stage."""
    return json.loads(path.read_bytes())


def write_json(path: Path, value: object) -> None:
    """A JSON file of a stage, whole or not at all."""
    write_atomically(path, json.dumps(value, ensure_ascii=False, indent=1).encode())
