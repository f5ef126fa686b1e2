"""All that an alignment starts from, in memory and as a folder that another process can read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_store.errors import InputError
from model_store.files import save_array, write_atomically
from offline.alignment.settings import Settings
from offline.data.histories import Histories
from offline.data.interactions import load_array
from offline.data.split import Cases
from offline.recommender.recommender import TrainingData, Vectors

_SETTINGS, _TEXTS = "settings.json", "texts.json"


@dataclass(frozen=True)
class AlignmentInputs:
    """The items, the training sequences, and the settings.

    Attributes:
        settings: of the recipe.
        item_ids: external ids of item_index 1..N.
        item_texts, knowledge: aligned with them; knowledge before alignment, "" where there is
            none.
        sequences: training items of each user, oldest → newest.
        validation: cases that are measured as alignment goes on.
    """

    settings: Settings
    item_ids: list[str]
    item_texts: list[str]
    knowledge: list[str]
    sequences: Histories
    validation: Cases

    def training_data(self, vectors: Vectors) -> TrainingData:
        """For recommenders; vectors float32 [N+1, K]. The recipe's share of users trains."""
        training = self.settings.training
        data = TrainingData(self.sequences, len(self.item_ids), self.validation, vectors)
        return data.of_share(training.share, training.seed)

    def save(self, folder: Path) -> None:
        """Write JSON and `.npy` files into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = [self.item_ids, self.item_texts, self.knowledge]
        write_atomically(folder / _SETTINGS, self.settings.model_dump_json(indent=1).encode())
        write_atomically(folder / _TEXTS, json.dumps(texts, ensure_ascii=False).encode())
        lengths = [0, *(len(sequence) for sequence in self.sequences)]
        save_array(folder / "offsets.npy", np.cumsum(lengths, dtype=np.int64))
        save_array(folder / "items.npy", np.concatenate([*self.sequences], dtype=np.int32))
        (folder / "validation").mkdir(exist_ok=True)
        self.validation.save(folder / "validation")

    @classmethod
    def load(cls, folder: Path) -> AlignmentInputs:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        try:
            settings = Settings.model_validate_json((folder / _SETTINGS).read_bytes())
            item_ids, item_texts, knowledge = json.loads((folder / _TEXTS).read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: not the inputs of an alignment ({error})") from error
        offsets = load_array(folder / "offsets.npy", np.int64)
        items = load_array(folder / "items.npy", np.int32)
        sequences = np.split(items, offsets[1:-1])
        validation = Cases.load(folder / "validation")
        return cls(settings, item_ids, item_texts, knowledge, sequences, validation)
