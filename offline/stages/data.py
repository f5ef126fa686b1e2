"""Read, check, number and split the interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from model_store.attributes import ItemAttributes
from model_store.errors import InputError
from model_store.event_rules import DEFAULT_RULES, EventRules
from model_store.id_map import IdMap
from offline.artifact import Artifact, Facts
from offline.data.config import ALL_INTERACTIONS, DataConfig
from offline.inputs import Source
from offline.stages.stage import Log, Stage

if TYPE_CHECKING:
    from offline.data.interactions import Interactions
    from offline.data.split import Split

SplitName = Literal["leave_one_out", "global_time"]


class DataArtifact(Artifact):
    """Interactions, the catalogue, and the split."""

    ITEM_IDS, ATTRIBUTES = "item_ids.json", "attributes.json"
    USER_IDS, OFFSETS, ITEMS, TIMESTAMPS = (
        "user_ids.json",
        "offsets.npy",
        "items.npy",
        "timestamps.npy",
    )
    SPLIT, TYPED = "split", "typed"

    @property
    def n_items(self) -> int:
        """N, of the whole catalogue."""
        return int(self.facts["items"])

    def item_ids(self) -> IdMap:
        """External ids of item_index 1..N."""
        return IdMap.load(self.path(self.ITEM_IDS))

    def attributes(self) -> ItemAttributes:
        """The catalogue's attributes of each item."""
        return ItemAttributes.load(self.path(self.ATTRIBUTES))

    def interactions(self) -> Interactions:
        """All interactions, held-out ones too."""
        from offline.data.interactions import Interactions

        return Interactions.load(self.folder)

    def event_types(self) -> tuple[str, ...]:
        """Types of events by number; none where all interactions are alike."""
        from offline.data.event_meaning import load_types

        folder = self.path(self.TYPED)
        return load_types(folder) if folder.is_dir() else ()

    def split(self) -> Split:
        """Training part, validation and test cases."""
        from offline.data.split import Split

        return Split.load(self.path(self.SPLIT))


@dataclass(frozen=True)
class DataStage(Stage[DataArtifact]):
    """From files to numbered interactions.

    Attributes:
        source: the files.
        split: name of the split.
        log: called with issues of rows, what columns were taken for, and warnings.
        choices: which of the interactions are used.
        rules: what each of them means.
    """

    source: Source
    split: SplitName
    log: Log
    choices: DataConfig = ALL_INTERACTIONS
    rules: EventRules = DEFAULT_RULES

    name = "data"

    @property
    def artifact(self) -> type[DataArtifact]:
        """See `DataArtifact`."""
        return DataArtifact

    @property
    def config(self) -> Facts:
        """The kind of split, which interactions are used, and what they mean."""
        rules = self.rules.model_dump(mode="json")
        return {"split": self.split, **self.choices.model_dump(), "events": rules}

    @property
    def inputs(self) -> Mapping[str, str]:
        """The files by their content."""
        return {"files": self.source.fingerprint()}

    def run(self, folder: Path) -> Facts:
        """Write interactions, catalogue and split.

        Raises:
            InputError: a file can't be used, or nothing can be held out.
        """
        from offline.data.dataset import read_dataset
        from offline.data.selection import select
        from offline.data.split import SPLITS
        from offline.inspect.inspection import inspect_dataset
        from offline.inspect.text import describe_briefly

        read = read_dataset(
            self.source.interactions, self.source.items, self.source.naming, self.source.events
        )
        dataset = select(read, self.choices, self.rules)
        for line in dataset.files:
            self.log(f"  {line}")
        for line in dataset.issues.lines():
            self.log(f"  {line}")
        dataset.save(folder)
        interactions = dataset.interactions
        split = SPLITS[self.split](interactions)
        for line in describe_briefly(inspect_dataset(dataset, split.test)):
            self.log(f"  {line}")
        split.need_cases()
        if interactions.n_items < 2:
            raise InputError("there is one item alone, so nothing could be recommended")
        split.save(folder / DataArtifact.SPLIT)
        return {
            "interactions": len(interactions),
            "users": interactions.n_users,
            "items": interactions.n_items,
        }
