"""Turn every item's text into a knowledge vector (SeRALM equation 2)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.files import save_array
from offline.artifact import Artifact, Facts
from offline.cache import cache_folder
from offline.encoding.config import EncodingConfig
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.stage import EngineStage

_PARTS = "parts"


class EncodingArtifact(Artifact):
    """The knowledge vectors; of size 0 where there is no encoder."""

    VECTORS = "knowledge_vectors.npy"

    def vectors(self) -> npt.NDArray[np.float32]:
        """float32 [N+1, K]; row 0, padding's, is zeros."""
        vectors: npt.NDArray[np.float32] = np.load(self.path(self.VECTORS), allow_pickle=False)
        return vectors


@dataclass(frozen=True)
class EncodingStage(EngineStage[EncodingArtifact]):
    """From texts to vectors.

    Attributes:
        knowledge: the texts.
        choices: which of the texts are encoded, and how.
        encoder: the one that encodes them.
    """

    knowledge: KnowledgeArtifact
    choices: EncodingConfig
    encoder: EncoderChoice

    name = "encoding"

    @property
    def artifact(self) -> type[EncodingArtifact]:
        """See `EncodingArtifact`."""
        return EncodingArtifact

    @property
    def config(self) -> Facts:
        """All of the choices."""
        return self.choices.model_dump()

    @property
    def inputs(self) -> Mapping[str, str]:
        """The texts, and the encoder's origin."""
        return {**super().inputs, **self.encoder.inputs}

    def run(self, folder: Path) -> Facts:
        """Write the vectors.

        Raises:
            LongtailError: the encoder isn't available, in one line.
        """
        if not self.choices.encodes:
            vectors = np.zeros((len(self.knowledge.item_texts()) + 1, 0), np.float32)
            save_array(folder / EncodingArtifact.VECTORS, vectors)
            return {"vectors": 0}
        from offline.encoding.item_vectors import encode_items
        from offline.encoding.on_engine import EncoderOnEngine, EncodeTexts
        from offline.encoding.vector_cache import CachedEncoder

        knowledge, parts = self.knowledge, folder / _PARTS
        work = EncodeTexts(self.encoder.name, cache_folder())
        encoder = CachedEncoder(EncoderOnEngine(work, self.engine, parts), cache_folder())
        rows = encode_items(knowledge.item_texts(), knowledge.knowledge(), self.choices, encoder)
        # Row 0 is padding's, so that an item_index is a row number everywhere.
        vectors = np.vstack([np.zeros((1, rows.shape[1]), np.float32), rows])
        save_array(folder / EncodingArtifact.VECTORS, vectors)
        shutil.rmtree(parts, ignore_errors=True)
        return {"vectors": len(rows), "size": rows.shape[1]}
