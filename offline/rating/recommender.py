"""A trained rating network as a model: fit, predict, save, load, rows to serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter
from torch import Tensor

from offline.fingerprint import fingerprint_of
from offline.rating.config import RatingConfig
from offline.rating.fields import ItemFields
from offline.rating.means import Means
from offline.rating.network import RatingNetwork, ServedNetwork, rated_means
from offline.rating.networks import new_interaction
from offline.rating.ratings import Ratings
from offline.rating.training import RatingTraining, plan_training
from offline.rating.warm_start import RatingStart
from offline.training.record import TrainingRecord
from offline.training.saved_model import load_model, save_model
from offline.training.seeds import seeded
from offline.training.trainer import Trainer

Float32 = npt.NDArray[np.float32]

_CHECKPOINT = "training.safetensors"
_CONFIGS: TypeAdapter[RatingConfig] = TypeAdapter(RatingConfig)


class RatingRecommender:
    """A rating network; predictions are clipped to the scale of the training ratings.

    After `fit` or `load`:

    Attributes:
        user_rows: float32 [U+1, 2 (1 + D)], what the network reads of each user; row 0 zeros.
        item_rows: float32 [N+1, (F - 2) (1 + D)], of each item; row 0 zeros.
        rated_rows: float32 [N+1, 1 + D]; their mean over a history is half of a user's row.
        served: the network over rows.
        means: of users and items, for pairs with an unknown one.
        scale: the lowest and the highest rating.
        field_names: of the items' fields, in the order of their rows; None: of an earlier release.
        record: of the training.
    """

    kind: ClassVar[str] = "rating"

    def __init__(self, config: RatingConfig) -> None:
        self.config = config
        self.user_rows: Float32 = np.zeros((1, 1), np.float32)
        self.item_rows: Float32 = np.zeros((1, 1), np.float32)
        self.rated_rows: Float32 = np.zeros((1, 1), np.float32)
        self.served: ServedNetwork | None = None
        self.means = Means(np.zeros(1, np.float32), np.zeros(1, np.float32))
        self.scale = (0.0, 0.0)
        self.field_names: tuple[str, ...] | None = None
        self.record = TrainingRecord()

    @property
    def name(self) -> str:
        """The network's."""
        return self.config.network

    def fit(
        self,
        train: Ratings,
        validation: Ratings | None,
        fields: ItemFields,
        n_users: int,
        folder: Path | None = None,
        start: RatingStart | None = None,
    ) -> Self:
        """Train, and keep the epoch with the best validation RMSE.

        Args:
            train: ratings to learn from.
            validation: chooses the epoch; None: all of `config.epochs` are run.
            fields: of the N items.
            n_users: U.
            folder: for checkpoints, from which an interrupted training resumes.
            start: the weights to begin with; None: random ones.

        Raises:
            InputError: the loss diverged.
        """
        epochs = self.config.epochs
        return self._train((train, validation), fields, n_users, folder, epochs, start)

    def refit(
        self,
        ratings: Ratings,
        fields: ItemFields,
        n_users: int,
        folder: Path | None = None,
        start: RatingStart | None = None,
    ) -> Self:
        """A new model of all ratings, of as many epochs as proved best for this one."""
        epochs, new = max(self.record.best_epoch, 1), type(self)(self.config)
        return new._train((ratings, None), fields, n_users, folder, epochs, start)

    def _train(
        self,
        parts: tuple[Ratings, Ratings | None],
        fields: ItemFields,
        n_users: int,
        folder: Path | None,
        n_epochs: int,
        start: RatingStart | None,
    ) -> Self:
        train, validation = parts
        n_items = fields.values.shape[1] - 1
        rated = rated_means(train, n_users, n_items)
        self.means = Means.of(train, n_users, n_items)
        self.scale = float(train.values.min()), float(train.values.max())
        self.field_names = fields.names
        with seeded(self.config.seed):
            network = RatingNetwork(self.config, rated, fields)
        with torch.no_grad():
            network.served.mean.fill_(float(self.means.items[0]))
        known: list[object] = [train.users, train.items, train.values, fields.values]
        if validation is not None:
            known += [validation.users, validation.items, validation.values]
        if start is not None:
            start.apply(network)
            known += start.parts()
        self.record = Trainer(
            "training",
            RatingTraining(network, train, validation, self.config.batch_size),
            plan_training(self.config, n_epochs),
            None if folder is None else folder / _CHECKPOINT,
            fingerprint_of(self.config, n_users, n_epochs, *known),
        ).run()
        network.eval()
        with torch.inference_mode():
            self.user_rows = network.features.user_rows(torch.arange(n_users + 1)).numpy()
            self.item_rows = network.features.item_rows(torch.arange(n_items + 1)).numpy()
            self.rated_rows = network.features.rated.weight.numpy().copy()
        self.served = network.served
        return self

    @torch.inference_mode()
    def predict(self, ratings: Ratings) -> Float32:
        """Predictions float32 [n], clipped to the scale; see `RatingPredictor.predict`."""
        served = self.served_network()
        users = torch.from_numpy(self.user_rows[ratings.users])
        predicted = served(users, torch.from_numpy(self.item_rows[ratings.items])).numpy()
        clipped: Float32 = np.clip(predicted, *self.scale)
        return clipped

    def served_network(self) -> ServedNetwork:
        """The network over rows; an error of the program where it has not been fitted."""
        if self.served is None:
            raise RuntimeError(f"{self.name} has not been fitted")
        return self.served

    def save(self, folder: Path) -> None:
        """Write config.json and weights.safetensors into the folder."""
        tensors: dict[str, Tensor] = {
            f"served/{name}": tensor for name, tensor in self.served_network().state_dict().items()
        }
        for name, array in self._arrays().items():
            tensors[name] = torch.from_numpy(array)
        described = {
            "kind": self.kind,
            "name": self.name,
            "config": self.config.model_dump(),
            "scale": self.scale,
            "fields": self.field_names,
            "record": self.record.to_dict(),
        }
        save_model(folder, described, tensors)

    def _arrays(self) -> dict[str, Float32]:
        return {
            "user_rows": self.user_rows,
            "item_rows": self.item_rows,
            "rated_rows": self.rated_rows,
            "user_means": self.means.users,
            "item_means": self.means.items,
        }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: the folder doesn't hold such a model.
        """
        model, tensors = load_model(folder, cls._described_by)
        model.user_rows, model.item_rows, model.rated_rows = (
            tensors.pop(name).numpy() for name in ("user_rows", "item_rows", "rated_rows")
        )
        users, items = (tensors.pop(name).numpy() for name in ("user_means", "item_means"))
        model.means = Means(users, items)
        size = model.config.embedding_size
        n_fields = (model.user_rows.shape[1] + model.item_rows.shape[1]) // (1 + size)
        model.served = ServedNetwork(new_interaction(n_fields, model.config), size)
        model.served.load_state_dict(
            {name.removeprefix("served/"): tensor for name, tensor in tensors.items()}
        )
        model.served.eval()
        return model

    @classmethod
    def _described_by(cls, described: Mapping[str, Any]) -> Self:
        model = cls(_CONFIGS.validate_python(described["config"]))
        low, high = described["scale"]
        model.scale = float(low), float(high)
        names = described.get("fields")
        model.field_names = None if names is None else tuple(map(str, names))
        model.record = TrainingRecord.from_dict(described["record"])
        return model
