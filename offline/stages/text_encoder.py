"""Export the text encoder for the service, checked against torch on item texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from offline.artifact import Artifact, Facts
from offline.cache import cache_folder
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.stage import Stage

N_PARITY_TEXTS = 64


class TextEncoderArtifact(Artifact):
    """The exported encoder."""

    GRAPH, TOKENIZER = "text_encoder.onnx", "tokenizer.json"


@dataclass(frozen=True)
class TextEncoderStage(Stage[TextEncoderArtifact]):
    """From an encoder that torch runs to one that the service runs.

    Attributes:
        recipe_name: the encoder's name in the recipe.
        encoder: the one that encoded the items.
        texts: some are encoded by both. They only check the export, so they are no input: another
            catalogue doesn't run it again.
    """

    recipe_name: str
    encoder: EncoderChoice
    texts: Sequence[str]

    name = "text_encoder"

    @property
    def artifact(self) -> type[TextEncoderArtifact]:
        """See `TextEncoderArtifact`."""
        return TextEncoderArtifact

    @property
    def config(self) -> Facts:
        """The encoder's name."""
        return {"encoder": self.recipe_name}

    @property
    def inputs(self) -> Mapping[str, str]:
        """The encoder's origin."""
        return self.encoder.inputs

    def run(self, folder: Path) -> Facts:
        """Write graph and tokenizer.

        Raises:
            LongtailError: the encoder isn't available, or the exported one gives other vectors.
        """
        from offline.encoding.onnx_export import export_text_encoder
        from offline.encoding.sentence_encoder import SentenceEncoder

        encoder = SentenceEncoder(self.encoder.name, cache_folder())
        report = export_text_encoder(encoder, folder, self.texts[:N_PARITY_TEXTS])
        return {"difference": report.largest_difference, "query_ms": report.query_ms}
