"""A trained sequence network as a recommender: fit, score, save, load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional as F

from model_store.errors import ConfigError
from model_store.files import save_array
from model_store.id_map import IdMap
from offline.data.histories import Histories, Items, Weights, pad_left, window_spans
from offline.data.split import Cases
from offline.fingerprint import fingerprint_of
from offline.metrics import Scores, ndcg_at_k, rank_cases
from offline.recommender.backbone import Backbone, CausalBackbone
from offline.recommender.backbones import new_backbone
from offline.recommender.config import (
    Bert4recConfig,
    RecommenderConfig,
    TrainingConfig,
)
from offline.recommender.contrast import Contrast
from offline.recommender.criterion import Criterion
from offline.recommender.ensemble import EachMember, Ensemble, EnsembleItems
from offline.recommender.exported import ExportedNetwork, check_serving_path
from offline.recommender.fresh import FreshRegression, fill_fresh_rows
from offline.recommender.graph import export_graph
from offline.recommender.item_encoder import ItemEncoder
from offline.recommender.network import SequenceNetwork
from offline.recommender.objective import HiddenItem, NextItem, Objective
from offline.recommender.phases import phases_of
from offline.recommender.recommender import TrainingData, Vectors
from offline.recommender.text_projection import project_text, whiten
from offline.recommender.touched_rows import TouchedCriterion, TouchedRows
from offline.recommender.training import SequenceTraining, plan_training
from offline.recommender.warm_start import WarmStart, carried_rows
from offline.training.group import check_own_gpu, current
from offline.training.pace import Pace, measure_pace
from offline.training.record import TrainingRecord
from offline.training.saved_model import load_model, save_model
from offline.training.seeds import seeded, stream_of
from offline.training.trainer import Phase, Trainer

MODEL, ITEM_TABLE, FRESH_PROJECTION = "model.onnx", "item_table.npy", "fresh_projection.npy"
_CHECKPOINT = "training.safetensors"
_WEIGHTS = "weights.safetensors"
_CONFIG = "config.json"
_CONFIGS: TypeAdapter[RecommenderConfig] = TypeAdapter(RecommenderConfig)
_IDS, _NETWORK = 0, 1  # parts of a model, each initialised from a random stream of its own
_SCORED_ROWS = (
    64  # histories that are read at a time, so that intermediate results stay in the cache
)


class SequenceRecommender:
    """A sequence network over `[id ; knowledge]` (SeRALM section 4.3).

    After `fit` or `load`:

    Attributes:
        backbone: the network without its items, in evaluation mode, on the CPU.
        item_table: float32 [N+1, D]; row 0 zeros, rows of untrained items projected.
        fresh_projection: float32 [K+1, D].
        record: of the training.
    """

    kind: ClassVar[str] = "sequential"

    def __init__(self, config: RecommenderConfig, training: TrainingConfig) -> None:
        self.config = config
        self.training = training
        self.backbone: Backbone = self._new_backbone()
        self.item_table: Vectors = np.zeros((1, config.embedding_size), np.float32)
        self.fresh_projection: Vectors = np.zeros((1, config.embedding_size), np.float32)
        self.record = TrainingRecord()

    @property
    def name(self) -> str:
        """The architecture's."""
        return self.config.backbone

    @property
    def n_items(self) -> int:
        """N; 0 before it is fitted."""
        return len(self.item_table) - 1

    @property
    def max_length(self) -> int:
        """Last items of a history that are read."""
        return self.config.max_length

    def fit(self, data: TrainingData, folder: Path | None = None) -> Self:
        """Train, keep the best epoch's weights, and fill the rows of untrained items.

        Raises:
            InputError: there is nothing to learn from, or the loss diverged.
            ConfigError: the device asked for is not there, or the network can't be trained so.
        """
        return self._train(data, folder, phases_of(self.training))

    def _train(self, data: TrainingData, folder: Path | None, phases: tuple[Phase, ...]) -> Self:
        data = data.of_share(self.training.share, self.training.seed)
        regression = FreshRegression(data.knowledge, data.counts() > 0)
        task = self._new_task(data, regression)
        self.record = Trainer(
            "training",
            task,
            plan_training(self.training, phases),
            folder / _CHECKPOINT if folder is not None else None,
            self._fingerprint(data, phases),
        ).run()
        self._adopt(task.module.cpu(), data, regression)
        return self

    def warm_start(self, known_ids: IdMap, item_ids: IdMap, knowledge: Vectors | None) -> WarmStart:
        """See `Recommender.warm_start`."""
        rows, n_known = carried_rows(
            self.item_table, self.fresh_projection, known_ids, item_ids, knowledge
        )
        network = {name: t.cpu().numpy() for name, t in self.backbone.state_dict().items()}
        return WarmStart(network, rows, n_known)

    def measure_pace(self, data: TrainingData) -> Pace:
        """How long an epoch of `fit` will take here, validation not counted.

        Raises:
            InputError: there is nothing to learn from.
            ConfigError: the device asked for is not there, or the network can't be trained so.
        """
        data = data.of_share(self.training.share, self.training.seed)
        task = self._new_task(data, FreshRegression(data.knowledge, data.counts() > 0))
        return measure_pace(task, plan_training(self.training, phases_of(self.training)))

    def _new_task(self, data: TrainingData, regression: FreshRegression) -> SequenceTraining:
        backbone = self._new_backbone()
        if data.start is not None:
            start = {name: torch.tensor(array) for name, array in data.start.network.items()}
            backbone.load_state_dict(start)
        network = SequenceNetwork(self._new_item_encoder(data), backbone, self.training.precision)
        criterion, touched = Criterion(data.counts(), self.training), None
        if self.training.table_updates == "sparse":
            encoder = self._lone_encoder(network)
            if current().size > 1:
                encoder.shard(current())
            criterion = TouchedCriterion(data.counts(), self.training)
            touched = TouchedRows(encoder, criterion)
        network.to(_device(self.training.device))
        objective = self._new_objective(backbone, criterion)

        def validate(network: SequenceNetwork, cases: Cases) -> float:
            self._adopt(network, data, regression)
            return ndcg_at_k(rank_cases(self.score, cases, k=0).ranks)

        sequences, weights = data.read_sequences(), data.read_weights()
        spans = window_spans(sequences, self.config.max_length)
        return self._new_training(
            network,
            objective,
            [sequences[row][span] for row, span in spans],
            partial(validate, cases=data.validation) if data.validation is not None else None,
            None if weights is None else [weights[row][span] for row, span in spans],
            touched,
        )

    def _new_training(
        self,
        network: SequenceNetwork,
        objective: Objective,
        windows: list[Items],
        validate: Callable[[SequenceNetwork], float] | None,
        weights: list[Weights] | None,
        touched: TouchedRows | None,
    ) -> SequenceTraining:
        batch_size = self.training.batch_size
        return SequenceTraining(network, objective, windows, batch_size, validate, weights, touched)

    def refit(self, data: TrainingData, folder: Path | None = None) -> Self:
        """A new model trained on `data` for as many epochs as validation chose for this one.

        Each phase gets the epochs of the chosen weights, so that a phase which only made them
        worse is left out. `data` is everything, held-out interactions included; its `validation`
        is not used.
        """
        phases = phases_of(self.training, self.record.kept_epochs() or [1])
        everything = replace(data, validation=None)
        return type(self)(self.config, self.training)._train(everything, folder, phases)

    @torch.inference_mode()
    def score(self, histories: Histories) -> Scores:
        """Scores float32 [B, N+1] as user @ item_table.T; see `Recommender.score`."""
        users, table = self._read(histories)
        scores: Scores = (users @ table.T).cpu().numpy()
        return scores

    @torch.inference_mode()
    def user_vectors(self, histories: Histories) -> Vectors:
        """See `Recommender.user_vectors`."""
        vectors: Vectors = self._read(histories)[0].cpu().numpy()
        return vectors

    def _read(self, histories: Histories) -> tuple[Tensor, Tensor]:
        """User vectors [B, D] and the item table, on the backbone's device."""
        self.backbone.eval()
        device = next(self.backbone.parameters()).device
        table = torch.from_numpy(self.item_table).to(device)
        users = []
        for start in range(0, len(histories), _SCORED_ROWS):
            padded = pad_left(histories[start : start + _SCORED_ROWS], self.config.max_length)
            history = torch.from_numpy(padded).to(device)
            users.append(self.backbone.last(F.embedding(history, table), history != 0))
        return torch.cat(users), table

    def export(self, folder: Path, histories: Histories) -> ExportedNetwork:
        """See `Recommender.export`."""
        check_serving_path(self.backbone, self.item_table, histories)
        export_graph(self.backbone, self.config.embedding_size, folder / MODEL)
        save_array(folder / ITEM_TABLE, self.item_table)
        save_array(folder / FRESH_PROJECTION, self.fresh_projection)
        return ExportedNetwork(folder / MODEL, self.item_table, self.max_length)

    def save(self, folder: Path) -> None:
        """Write config.json and weights.safetensors into the folder."""
        tensors = {f"backbone/{name}": t for name, t in self.backbone.state_dict().items()}
        tensors["item_table"] = torch.from_numpy(self.item_table)
        tensors["fresh_projection"] = torch.from_numpy(self.fresh_projection)
        described = {
            "kind": self.kind,
            "name": self.name,
            "config": self.config.model_dump(),
            "training": self.training.model_dump(),
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
        model.item_table = tensors.pop("item_table").numpy()
        model.fresh_projection = tensors.pop("fresh_projection").numpy()
        model.backbone.load_state_dict(
            {name.removeprefix("backbone/"): tensor for name, tensor in tensors.items()}
        )
        model.backbone.eval()
        return model

    @classmethod
    def _described_by(cls, described: Mapping[str, Any]) -> Self:
        model = cls(
            _CONFIGS.validate_python(described["config"]),
            TrainingConfig.model_validate(described["training"]),
        )
        model.record = TrainingRecord.from_dict(described["record"])
        return model

    def _new_backbone(self) -> Backbone:
        config = self.config
        with seeded(stream_of(self.training.seed, _NETWORK)):
            if config.members == 1:
                return new_backbone(config)
            return Ensemble([new_backbone(config.of_member()) for _ in range(config.members)])

    def _lone_encoder(self, network: SequenceNetwork) -> ItemEncoder:
        if not isinstance(network.items, ItemEncoder):
            raise ConfigError(
                f"training.table_updates = 'sparse': works with recommender.members 1, not "
                f"{self.config.members}"
            )
        return network.items

    def _new_objective(self, backbone: Backbone, criterion: Criterion) -> Objective:
        if isinstance(backbone, Ensemble):
            return EachMember(self._new_objective(backbone.members[0], criterion))
        if isinstance(self.config, Bert4recConfig):
            objective: Objective = HiddenItem(criterion, self.config)
        else:
            objective = NextItem(criterion)
        if not self.training.contrast_weight:
            return objective
        if not isinstance(backbone, CausalBackbone):
            raise ConfigError(
                f"training.contrast_weight = {self.training.contrast_weight}: "
                f"{self.name} is not causal, and can't be trained so"
            )
        return Contrast(
            objective, self.training.contrast_weight, self.training.contrast_temperature
        )

    def _new_item_encoder(self, data: TrainingData) -> ItemEncoder | EnsembleItems:
        config, texts = self.config, data.knowledge
        size = config.member_size
        features = start = None
        if texts is not None and config.knowledge_beside_ids:
            features = whiten(texts, size)
        if texts is not None and config.id_init == "text":
            start = project_text(texts, size, config.text_projection)
        with seeded(stream_of(self.training.seed, _IDS)):
            encoders = [
                ItemEncoder(data.n_items, size, features, start, config.id_std, config.ids_anchored)
                for _ in range(config.members)
            ]
        if data.start is not None:
            rows = torch.from_numpy(data.start.item_rows)
            for encoder, part in zip(encoders, rows.chunk(config.members, dim=1), strict=True):
                encoder.begin_at(part)
        return encoders[0] if config.members == 1 else EnsembleItems(encoders)

    def _adopt(
        self, network: SequenceNetwork, data: TrainingData, regression: FreshRegression
    ) -> None:
        """Use a network's weights, with its items folded into one table."""
        self.backbone = network.backbone.eval()
        with torch.inference_mode():
            table = network.items().cpu().numpy()
        self.fresh_projection = regression.fit(table)
        self.item_table = fill_fresh_rows(
            table, data.knowledge, regression.trained, self.fresh_projection
        )

    def _fingerprint(self, data: TrainingData, phases: tuple[Phase, ...]) -> str:
        parts: list[object] = [self.config, self.training, phases, data.n_items]
        parts += data.read_sequences()
        parts += data.read_weights() or ()
        if data.validation is not None:
            parts += [data.validation.history_items, data.validation.targets]
        if data.knowledge is not None:
            parts.append(data.knowledge)
        if data.start is not None:
            parts += data.start.parts()
        return fingerprint_of(*parts)


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("training.device = 'cuda': this machine has no CUDA device")
    if name == "cpu" or not available:
        return torch.device("cpu")
    check_own_gpu()
    return torch.device("cuda")
