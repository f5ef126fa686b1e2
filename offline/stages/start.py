"""An earlier model that trainings begin with, as recommenders' stages read it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.files import replace_folder
from model_store.id_map import IdMap
from offline.artifact import Artifact
from offline.fingerprint import hash_inputs

if TYPE_CHECKING:
    from offline.rating.fields import ItemFields
    from offline.rating.warm_start import RatingStart
    from offline.recommender.recommender import TrainingData

_ITEM_IDS, _USER_IDS = "item_ids.json", "user_ids.json"
_FILES = ("config.json", "weights.safetensors")
"""Of a saved recommender, see `offline.training.saved_model`."""


class StartArtifact(Artifact):
    """A saved recommender or predictor of ratings, and the items and users that its rows are of."""

    @property
    def name(self) -> str:
        """Of the input that it is; its folder is named by a version."""
        return "start"

    @classmethod
    def open(cls, folder: Path) -> StartArtifact | None:
        """The one that `keep` wrote; None if it isn't there."""
        if not all((folder / name).is_file() for name in (*_FILES, _ITEM_IDS)):
            return None
        return cls(folder, hash_inputs([folder]), {})

    @classmethod
    def keep(cls, model: Path, item_ids: Path, folder: Path, user_ids: Path | None = None) -> None:
        """Copy a model's folder and its ids, so that later stages can replace them.

        Args:
            model: folder of a stage that saved a recommender or a predictor of ratings.
            item_ids: file of `IdMap.save`.
            folder: gets the copies, all or none.
            user_ids: the same of the users, where the model has rows of them.
        """
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in _FILES:
            shutil.copyfile(model / name, partial / name)
        shutil.copyfile(item_ids, partial / _ITEM_IDS)
        if user_ids is not None:
            shutil.copyfile(user_ids, partial / _USER_IDS)
        replace_folder(folder, partial)

    def begin(self, data: TrainingData, item_ids: IdMap) -> TrainingData:
        """The training data with this model as the start, where its kind can be one.

        Args:
            data: to train on.
            item_ids: of its catalogue.
        """
        from offline.models import load_recommender

        known = IdMap.load(self.path(_ITEM_IDS))
        start = load_recommender(self.folder).warm_start(known, item_ids, data.knowledge)
        return replace(data, start=start)

    def begin_rating(
        self, user_ids: Sequence[str], item_ids: Sequence[str], fields: ItemFields
    ) -> RatingStart | None:
        """The weights of a predictor of ratings for another data set; see `carried`."""
        from offline.rating.recommender import RatingRecommender
        from offline.rating.warm_start import carried

        known = IdMap.load(self.path(_USER_IDS)), IdMap.load(self.path(_ITEM_IDS))
        return carried(RatingRecommender.load(self.folder), known, (user_ids, item_ids), fields)
