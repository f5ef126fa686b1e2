"""A direct model as a recommender: fit, score, save, load, export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import TypeAdapter

from model_store.errors import InputError
from model_store.files import save_array
from model_store.id_map import IdMap
from offline.data.histories import Histories
from offline.data.split import Cases
from offline.direct.config import DirectConfig
from offline.direct.fold_in import FoldIn, FoldInGraph, choose_fold_in
from offline.direct.graph import Graph
from offline.direct.networks import FactorNetwork, new_network
from offline.direct.training import FactorTraining, plan_training
from offline.direct.triples import TripleSampler
from offline.fingerprint import fingerprint_of
from offline.metrics import Scores, ndcg_at_k, rank_cases
from offline.recommender.exported import ExportedNetwork, check_serving_path
from offline.recommender.fresh import FreshRegression, fill_fresh_rows
from offline.recommender.graph import export_graph
from offline.recommender.recommender import TrainingData, Vectors
from offline.recommender.warm_start import WarmStart
from offline.training.pace import Pace, measure_pace
from offline.training.record import TrainingRecord
from offline.training.saved_model import load_model, save_model
from offline.training.seeds import seeded, stream_of
from offline.training.trainer import Trainer

MODEL, ITEM_TABLE, FRESH_PROJECTION = "model.onnx", "item_table.npy", "fresh_projection.npy"
_CHECKPOINT = "training.safetensors"
_CONFIGS: TypeAdapter[DirectConfig] = TypeAdapter(DirectConfig)
_EMBEDDING = 0  # the part of a model that is initialised from a random stream of its own
_MEASURED_CASES = 1_000  # that a penalty is chosen by; all of them choose the epoch


class DirectRecommender:
    """Item vectors learnt from the graph of interactions, and users folded in from histories.

    After `fit` or `load`:

    Attributes:
        item_table: float32 [N+1, D]; row 0 zeros, rows of untrained items projected.
        fresh_projection: float32 [K+1, D].
        fold_in: from the items of a history to a user's vector.
        record: of the training.
    """

    kind: ClassVar[str] = "direct"

    def __init__(self, config: DirectConfig) -> None:
        self.config = config
        self.item_table: Vectors = np.zeros((1, config.embedding_size), np.float32)
        self.fresh_projection: Vectors = np.zeros((1, config.embedding_size), np.float32)
        self.fold_in = FoldIn(np.eye(config.embedding_size, dtype=np.float32), penalty=1.0)
        self.record = TrainingRecord()

    @property
    def name(self) -> str:
        """The model's."""
        return self.config.model

    @property
    def n_items(self) -> int:
        """N; 0 before it is fitted."""
        return len(self.item_table) - 1

    @property
    def max_length(self) -> int:
        """Last items of a history that a user is folded in from."""
        return self.config.max_length

    def fit(self, data: TrainingData, folder: Path | None = None) -> Self:
        """Train, keep the best epoch's vectors, and fill the rows of untrained items.

        Raises:
            InputError: there is nothing to learn from, interactions have different weights, or the
                loss diverged.
        """
        return self._train(data, folder, self.config.epochs)

    def refit(self, data: TrainingData, folder: Path | None = None) -> Self:
        """A new model of `data`, with the epochs and the penalty that validation chose."""
        again = type(self)(self.config)
        again.fold_in = self.fold_in
        [epochs] = self.record.kept_epochs() or [1]
        return again._train(replace(data, validation=None), folder, epochs)

    def _train(self, data: TrainingData, folder: Path | None, epochs: int) -> Self:
        regression = FreshRegression(data.knowledge, data.counts() > 0)
        task = self._new_task(data, regression)
        self.record = Trainer(
            "training",
            task,
            plan_training(self.config, epochs),
            folder / _CHECKPOINT if folder is not None else None,
            self._fingerprint(data, epochs),
        ).run()
        self._adopt(task.module, data, regression)
        return self

    def warm_start(
        self,
        known_ids: IdMap,  # noqa: ARG002 - the protocol's
        item_ids: IdMap,  # noqa: ARG002
        knowledge: Vectors | None,  # noqa: ARG002
    ) -> WarmStart | None:
        """None: trained vectors are smoothed over a graph, and what they came from is not kept."""
        return None

    def measure_pace(self, data: TrainingData) -> Pace:
        """How long an epoch of `fit` will take here, validation not counted.

        Raises:
            InputError: there is nothing to learn from, or interactions have different weights.
        """
        task = self._new_task(data, FreshRegression(data.knowledge, data.counts() > 0))
        return measure_pace(task, plan_training(self.config, self.config.epochs))

    def _new_task(self, data: TrainingData, regression: FreshRegression) -> FactorTraining:
        if data.read_weights() is not None:
            raise InputError(
                f"interactions have different weights, and {self.name} takes all alike; give all "
                "event types one weight in [events]"
            )
        graph = Graph.of_sequences(data.sequences, data.n_items)
        with seeded(stream_of(self.config.seed, _EMBEDDING)):
            network = new_network(self.config, graph)
        sampler = TripleSampler(
            graph, self.config.batch_size, network.n_negatives, data.preferences
        )
        if not len(sampler):
            raise InputError("nothing to learn from: no user has some of the items and not others")

        def validate(network: FactorNetwork, cases: Cases) -> float:
            self._adopt(network, data, regression)
            return ndcg_at_k(rank_cases(self.score, cases, k=0).ranks)

        validation = data.validation
        chosen = partial(validate, cases=validation) if validation is not None else None
        return FactorTraining(network, sampler, chosen)

    def score(self, histories: Histories) -> Scores:
        """Scores float32 [B, N+1] as user @ item_table.T; see `Recommender.score`."""
        return self._score(self.fold_in, histories)

    def user_vectors(self, histories: Histories) -> Vectors:
        """See `Recommender.user_vectors`."""
        return self.fold_in.users(self.item_table, self._cut(histories))

    def _score(self, fold_in: FoldIn, histories: Histories) -> Scores:
        scores: Scores = fold_in.users(self.item_table, self._cut(histories)) @ self.item_table.T
        return scores

    def _cut(self, histories: Histories) -> Histories:
        return [history[-self.max_length :] for history in histories]

    def export(self, folder: Path, histories: Histories) -> ExportedNetwork:
        """See `Recommender.export`."""
        network = FoldInGraph(self.fold_in).eval()
        check_serving_path(network, self.item_table, histories)
        export_graph(network, self.config.embedding_size, folder / MODEL)
        save_array(folder / ITEM_TABLE, self.item_table)
        save_array(folder / FRESH_PROJECTION, self.fresh_projection)
        return ExportedNetwork(folder / MODEL, self.item_table, self.max_length)

    def save(self, folder: Path) -> None:
        """Write config.json and weights.safetensors into the folder."""
        tensors = {
            "item_table": torch.from_numpy(self.item_table),
            "fresh_projection": torch.from_numpy(self.fresh_projection),
            "fold_in": torch.from_numpy(self.fold_in.matrix),
        }
        described = {
            "kind": self.kind,
            "name": self.name,
            "config": self.config.model_dump(),
            "fold_in_penalty": self.fold_in.penalty,
            "record": self.record.to_dict(),
        }
        save_model(folder, described, tensors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: the folder doesn't hold such a model.
        """
        model, tensors = load_model(folder, cls._described_by)
        model.item_table = tensors["item_table"].numpy()
        model.fresh_projection = tensors["fresh_projection"].numpy()
        model.fold_in = FoldIn(tensors["fold_in"].numpy(), model.fold_in.penalty)
        return model

    @classmethod
    def _described_by(cls, described: Mapping[str, Any]) -> Self:
        model = cls(_CONFIGS.validate_python(described["config"]))
        model.fold_in = FoldIn(model.fold_in.matrix, float(described["fold_in_penalty"]))
        model.record = TrainingRecord.from_dict(described["record"])
        return model

    def _adopt(
        self, network: FactorNetwork, data: TrainingData, regression: FreshRegression
    ) -> None:
        """Use a network's vectors, and the fold-in that fits them."""
        with torch.inference_mode():
            vectors = network.vectors().numpy()
        users, table = np.split(vectors, [len(data.sequences)])
        self.fresh_projection = regression.fit(table)
        self.item_table = fill_fresh_rows(
            table, data.knowledge, regression.trained, self.fresh_projection
        )
        make = partial(FoldIn.of, self.item_table, users, data.sequences)
        if data.validation is None or not len(data.validation):
            self.fold_in = make(self.fold_in.penalty)
            return
        some = _spread(data.validation, _MEASURED_CASES)

        def measure(fold_in: FoldIn) -> float:
            return ndcg_at_k(rank_cases(partial(self._score, fold_in), some, k=0).ranks)

        self.fold_in = choose_fold_in(make, measure)

    def _fingerprint(self, data: TrainingData, epochs: int) -> str:
        parts: list[object] = [self.config, epochs, self.fold_in.penalty, data.n_items]
        parts += list(data.sequences)
        if data.validation is not None:
            parts += [data.validation.history_items, data.validation.targets]
        if data.knowledge is not None:
            parts.append(data.knowledge)
        if (added := data.preferences) is not None:
            parts += [added.users, added.preferred, added.others]
        return fingerprint_of(*parts)


def _spread(cases: Cases, count: int) -> Cases:
    """At most `count` of the cases, evenly spread."""
    if len(cases) <= count:
        return cases
    chosen = np.zeros(len(cases), dtype=np.bool_)
    chosen[np.linspace(0, len(cases) - 1, count).round().astype(int)] = True
    return cases.chosen(chosen)
