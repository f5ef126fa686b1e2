"""Rank what was drawn at random for people, as a new model and the running one would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_store.bundle import Bundle
from model_store.event_rules import EventRules
from model_store.files import save_array
from model_store.fresh_items import FreshItem
from offline.artifact import Artifact, Facts
from offline.fingerprint import fingerprint_of, hash_inputs
from offline.logged.places import Places, Ranked
from offline.stages.recommender import RecommenderArtifact
from offline.stages.refreshed_data import RefreshedDataArtifact, fingerprint_of_forgotten
from offline.stages.stage import Stage

if TYPE_CHECKING:
    from offline.logged.explored import Explored

MAX_ANSWERS_PER_USER, MAX_USERS = 20, 20_000
"""The first ones of each user, and users drawn at random of more; as in `offline.data.newest`."""
_OWN, _RANKED = ("users", "is_drawn", "clicks", "propensities"), ("shares", "support")
_MODELS = ("candidate", "running")


class DrawnRanksArtifact(Artifact):
    """Drawn places, and what both models do there."""

    def places(self) -> Places:
        """All of them."""
        candidate, running = (
            Ranked(*(self._load(f"{model}_{part}") for part in _RANKED)) for model in _MODELS
        )
        users, is_drawn, clicks, propensities = (self._load(name) for name in _OWN)
        return Places(users, is_drawn, clicks, propensities, candidate, running)

    def _load(self, name: str) -> Any:
        return np.load(self.path(f"{name}.npy"), allow_pickle=False)


@dataclass(frozen=True)
class DrawnRanksStage(Stage[DrawnRanksArtifact]):
    """From the newest drawn answers and two models to what these do at the same places.

    Attributes:
        data: what users had had, and from when on no model has seen what they did.
        recommender: the new model, which was fitted to the training part.
        running: bundle of the version that answers; only its own answers count.
        version: its name.
        exposures: an archive of drawn answers.
        events: the archive of events, in which their clicks are.
        rules: tell which events are clicks.
        forgotten: when people were forgotten, in unix seconds, by `digest_of_user`; their answers
            and clicks until then are left out, as the archives may be copies from before.
        fresh: items that the version was given after its training.
    """

    data: RefreshedDataArtifact
    recommender: RecommenderArtifact
    running: Bundle
    version: str
    exposures: Path
    events: Path
    rules: EventRules
    forgotten: Mapping[bytes, float]
    fresh: Sequence[FreshItem] = ()

    name = "drawn_ranks"

    @property
    def artifact(self) -> type[DrawnRanksArtifact]:
        """See `DrawnRanksArtifact`."""
        return DrawnRanksArtifact

    @property
    def config(self) -> Facts:
        """Whose answers they are, and what an event means."""
        return {"version": self.version, "events": self.rules.model_dump(mode="json")}

    @property
    def inputs(self) -> Mapping[str, str]:
        """Artifacts, the running bundle by its own parts, archives by content, and who is out."""
        fresh = [part for one in self.fresh for part in (one.item_id, one.vector)]
        return {
            **super().inputs,
            "running": fingerprint_of(sorted(self.running.manifest.inputs.items())),
            "fresh": fingerprint_of(*fresh),
            "forgotten": fingerprint_of_forgotten(self.forgotten),
            "archives": hash_inputs([self.exposures, self.events]),
        }

    def run(self, folder: Path) -> Facts:
        """Write what the models do at the places.

        Raises:
            InputError: a score is NaN, or a file is none of an archive.
        """
        from offline.evaluate.bundle_scores import BundleScores
        from offline.logged.places import histories_at, rank_places
        from offline.progress import Progress

        explored = self.newest()
        histories = histories_at(self.data.interactions(), explored.user_ids, explored.at_s)
        running = BundleScores(self.running, self.data.item_ids(), self.fresh)
        with Progress("comparing on drawn answers", len(explored), "answer") as progress:
            candidate = self.recommender.model().score
            places = rank_places(explored, histories, candidate, running.score, progress.advance)
        for name in _OWN:
            save_array(folder / f"{name}.npy", getattr(places, name))
        for model in _MODELS:
            for part in _RANKED:
                values = getattr(getattr(places, model), part)
                save_array(folder / f"{model}_{part}.npy", values)
        return {"answers": len(explored), "places": int(places.is_drawn.sum())}

    def newest(self) -> Explored:
        """The running version's own ones from when on neither model has seen what was done.

        Raises:
            InputError: a file is none of an archive.
        """
        import polars as pl

        from offline.event_archive.snapshot import rows_without_forgotten
        from offline.logged.answers import read_answers, read_events
        from offline.logged.explored import explored_of

        events = rows_without_forgotten(read_events(self.events), self.forgotten)
        answers = read_answers(self.exposures, events, self.rules)
        own = rows_without_forgotten(answers, self.forgotten).filter(
            pl.col("version") == self.version, pl.col("timestamp") >= self.data.facts["test_from"]
        )
        first = own.filter(pl.int_range(pl.len()).over("user_id") < MAX_ANSWERS_PER_USER)
        users = first["user_id"].unique(maintain_order=True)
        if len(users) > MAX_USERS:
            first = first.filter(pl.col("user_id").is_in(users.sample(MAX_USERS, seed=0).to_list()))
        return explored_of(first, self.data.item_ids())
