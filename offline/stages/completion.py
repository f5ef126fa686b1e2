"""Have a language model complete attributes that the catalogue lacks (Llama4Rec 4.2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offline.artifact import Facts, write_json
from offline.augmentation.completion_config import CompletionConfig
from offline.cache import cache_folder
from offline.fingerprint import hash_inputs
from offline.stages.attributes import AttributesArtifact
from offline.stages.data import DataArtifact
from offline.stages.stage import Stage


class CompletionArtifact(AttributesArtifact):
    """The attributes, and `report.json` with counts and samples."""

    REPORT = "report.json"

    def report(self) -> dict[str, Any]:
        """What was missing, and what became of it."""
        report: dict[str, Any] = self.read_json(self.REPORT)
        return report


@dataclass(frozen=True)
class CompletionStage(Stage[CompletionArtifact]):
    """From a catalogue to one with fewer gaps; no rating is read.

    Attributes:
        data: the catalogue.
        choices: attributes and language model.
    """

    data: DataArtifact
    choices: CompletionConfig

    name = "completion"

    @property
    def artifact(self) -> type[CompletionArtifact]:
        """See `CompletionArtifact`."""
        return CompletionArtifact

    @property
    def config(self) -> Facts:
        """All of the choices but how fast it is asked."""
        return self.choices.model_dump(mode="json", exclude={"batch_size", "concurrency"})

    @property
    def inputs(self) -> Mapping[str, str]:
        """The data, and a local language model by its files."""
        model = Path(self.choices.model)
        is_local = self.choices.base_url is None and model.exists()
        return {**super().inputs, **({"model": hash_inputs([model])} if is_local else {})}

    def run(self, folder: Path) -> Facts:
        """Write attributes and report; a run that was killed goes on where it stopped.

        Raises:
            LongtailError: an example or the language model can't be used, in one line.
        """
        from offline.augmentation.completion import complete, plan

        item_ids = self.data.item_ids()
        known, wanted = plan(self.data.attributes(), item_ids, self.choices)
        counts = np.bincount(self.data.interactions().items, minlength=self.data.n_items + 1)
        attributes, report = complete(known, item_ids, wanted, self.choices, cache_folder(), counts)
        attributes.save(folder / CompletionArtifact.ATTRIBUTES)
        write_json(folder / CompletionArtifact.REPORT, report.to_dict())
        completed = {name: counts["completed"] for name, counts in report.attributes.items()}
        return {"asked": report.asked, "cached": report.cached, **completed}
