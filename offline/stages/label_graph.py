"""Export the reranker's language model for the service, checked against torch on real prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.reranker import LabelGraph
from offline.artifact import Artifact, Facts, write_json
from offline.cache import cache_folder
from offline.fingerprint import hash_inputs
from offline.instruction.reranking_config import RerankingConfig
from offline.stages.data import DataArtifact
from offline.stages.stage import Stage
from offline.stages.tuning import TuningArtifact

N_PROMPTS = 100


class LabelGraphArtifact(Artifact):
    """The exported language model."""

    GRAPH, TOKENIZER = "reranker.onnx", "reranker_tokenizer.json"
    DESCRIPTION = "graph.json"

    def graph(self) -> LabelGraph:
        """The manifest's description of the graph."""
        return LabelGraph.model_validate(self.read_json(self.DESCRIPTION))


@dataclass(frozen=True)
class LabelGraphStage(Stage[LabelGraphArtifact]):
    """From a language model and its adapter to a graph.

    Attributes:
        choices: model, adapter and precision.
        sample: prompts are made of it. They only check the export, so it is no input: another
            catalogue doesn't run it again.
        tuned: weights that were tuned on the data; None: the adapter of the choices.
    """

    choices: RerankingConfig
    sample: Sequence[DataArtifact]
    tuned: TuningArtifact | None

    name = "label_graph"

    @property
    def artifact(self) -> type[LabelGraphArtifact]:
        """See `LabelGraphArtifact`."""
        return LabelGraphArtifact

    @property
    def config(self) -> Facts:
        """Model and precision."""
        return {"model": self.choices.tuning.model, "precision": self.choices.precision}

    @property
    def inputs(self) -> Mapping[str, str]:
        """The weights, and a local language model by its files."""
        if self.tuned is not None:
            return {"tuning": self.tuned.fingerprint}
        model = Path(self.choices.tuning.model)
        local = {"language model": hash_inputs([model])} if model.exists() else {}
        return {"adapter": hash_inputs([self.choices.adapter_folder()]), **local}

    def run(self, folder: Path) -> Facts:
        """Write graph, tokenizer and description.

        Raises:
            LongtailError: model or adapter can't be used, or the graph ranks differently.
        """
        from offline.instruction.label_graph import export_label_graph
        from offline.instruction.tunable import open_tuned

        weights = self.tuned.weights if self.tuned else self.choices.adapter_folder()
        model = open_tuned(self.choices.tuning, weights, cache_folder())
        prompts, n_labels = self._prompts()
        graph = export_label_graph(model, folder, self.choices.precision, prompts, n_labels)
        write_json(folder / LabelGraphArtifact.DESCRIPTION, graph.model_dump())
        size = (folder / LabelGraphArtifact.GRAPH).stat().st_size
        return {
            "rank_agreement": round(graph.rank_agreement, 4),
            "size_mib": round(size / 2**20, 1),
        }

    def _prompts(self) -> tuple[list[str], list[int]]:
        from offline.data.dataset import Dataset
        from offline.instruction.sample_prompts import sample_prompts

        [data] = self.sample
        found = sample_prompts(Dataset.load(data.folder), self.choices.layout(), N_PROMPTS)
        return [prompt.text for prompt in found], [len(prompt.candidates) for prompt in found]
