"""Read what a running model was trained on together with newer events, and hold the newest out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.bundle import Bundle
from model_store.event_rules import EventRules
from model_store.files import save_array
from model_store.forgotten import digest_of_user
from offline.artifact import Facts
from offline.data.config import DataConfig
from offline.fingerprint import fingerprint_of
from offline.inputs import Source
from offline.stages.data import DataArtifact
from offline.stages.stage import Log, Stage


class RefreshedDataArtifact(DataArtifact):
    """Interactions, the catalogue, the split, and where the interactions come from."""

    IS_NEW, IS_PROMPTED = "is_new.npy", "is_prompted.npy"

    def is_new(self) -> npt.NDArray[np.bool_]:
        """Whether the running model lacked each of `interactions`, bool [n]."""
        flags: npt.NDArray[np.bool_] = np.load(self.path(self.IS_NEW), allow_pickle=False)
        return flags

    def is_prompted(self) -> npt.NDArray[np.bool_]:
        """Whether each of `interactions` follows an answer that the event names, bool [n]."""
        flags: npt.NDArray[np.bool_] = np.load(self.path(self.IS_PROMPTED), allow_pickle=False)
        return flags


def fingerprint_of_forgotten(forgotten: Mapping[bytes, float]) -> str:
    """Who was forgotten, and when: unix seconds by `digest_of_user`."""
    return fingerprint_of(sorted((digest.hex(), at_s) for digest, at_s in forgotten.items()))


@dataclass(frozen=True)
class RefreshedDataStage(Stage[RefreshedDataArtifact]):
    """From files, archived events and a running bundle to numbered interactions.

    Attributes:
        source: the files and the events.
        running: bundle of the version that answers; what it holds is old.
        holdout: share of the new interactions that choose the epoch, and that compare.
        forgotten: when people were forgotten, in unix seconds, by `digest_of_user`; what they did
            before is left out.
        choices: which of the interactions are used.
        rules: what each of them means.
        log: called with issues of rows.
    """

    source: Source
    running: Bundle
    holdout: float
    forgotten: Mapping[bytes, float]
    choices: DataConfig
    rules: EventRules
    log: Log

    name = "refreshed_data"

    @property
    def artifact(self) -> type[RefreshedDataArtifact]:
        """See `RefreshedDataArtifact`."""
        return RefreshedDataArtifact

    @property
    def config(self) -> Facts:
        """The share, which interactions are used, and what they mean."""
        rules = self.rules.model_dump(mode="json")
        return {"holdout": self.holdout, **self.choices.model_dump(), "events": rules}

    @property
    def inputs(self) -> Mapping[str, str]:
        """Files by content, the running bundle by its own parts, and who was forgotten."""
        return {
            "files": self.source.fingerprint(),
            "running": fingerprint_of(sorted(self.running.manifest.inputs.items())),
            "forgotten": fingerprint_of_forgotten(self.forgotten),
        }

    def run(self, folder: Path) -> Facts:
        """Write interactions, catalogue and split.

        Raises:
            InputError: a file can't be used, or nothing is left.
        """
        from offline.data.dataset import read_dataset
        from offline.data.newest import find_new, hold_newest_out
        from offline.data.prompted import find_prompted
        from offline.data.selection import select, without_forgotten

        source = self.source
        read = read_dataset(source.interactions, source.items, source.naming, source.events)
        n_forgotten = sum(
            digest_of_user(user_id) in self.forgotten for user_id in read.interactions.user_ids
        )
        dataset = select(without_forgotten(read, self.forgotten), self.choices, self.rules)
        for line in (*dataset.files, *dataset.issues.lines()):
            self.log(f"  {line}")
        dataset.save(folder)
        interactions = dataset.interactions
        is_new = find_new(interactions, self.running.users(), self.running.item_ids)
        save_array(folder / RefreshedDataArtifact.IS_NEW, is_new)
        prompted = find_prompted(interactions, source.events)
        save_array(folder / RefreshedDataArtifact.IS_PROMPTED, prompted)
        split, cuts = hold_newest_out(interactions, is_new, self.holdout)
        split.save(folder / DataArtifact.SPLIT)
        times = interactions.timestamps[is_new]
        return {
            "interactions": len(interactions),
            "users": interactions.n_users,
            "items": interactions.n_items,
            "new_interactions": int(is_new.sum()),
            "new_prompted": int((is_new & prompted).sum()),
            "forgotten_users": n_forgotten,
            "validation_cases": len(split.validation),
            "test_cases": len(split.test),
            "test_users": len(np.unique(split.test.users)),
            "new_from": float(times.min()) if len(times) else None,
            "new_to": float(times.max()) if len(times) else None,
            **{name: None if np.isnan(at) else at for name, at in asdict(cuts).items()},
        }
