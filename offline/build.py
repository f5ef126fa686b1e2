"""The whole offline path, in order: data → knowledge → behaviour → encoding → recommender →
evaluate → bundle.

Every stage is an artifact (`offline.artifact`) in the build's folder. torch and transformers are
imported by the stages that need them, when they run: a build with nothing to do takes a second.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from model_store.errors import ConfigError
from model_store.files import save_array
from offline.artifact import (
    Artifact,
    Facts,
    Stage,
    hash_inputs,
    is_current,
    locked,
    run_stage,
)
from offline.assembly import BundleParts, code_revision, write_bundle
from offline.cache import cache_folder
from offline.inputs import DEFAULT_ITEM_KIND, Source
from offline.knowledge.config import KnowledgeConfig
from offline.recipe import Recipe
from offline.stage_files import read_catalogue, read_json, read_vectors, write_json

Log = Callable[[str], None]
SplitName = Literal["leave_one_out", "global_time"]
N_PARITY_TEXTS = 64
CHECKPOINT = "checkpoint"
# All code below offline/ that a stage's result hangs on; a test follows the imports.
TRAINING_SOURCES = (
    *("recommender", "training", "metrics.py"),
    *("data/histories.py", "data/interactions.py", "data/split.py"),
)
TUNING_SOURCES = (
    "behaviour",
    *("data/histories.py", "data/interactions.py", "data/split.py"),
    *("encoding/config.py", "encoding/item_vectors.py", "encoding/sentence_encoder.py"),
    *("training", "metrics.py"),
)
EVALUATION_SOURCES = ("evaluate", *TRAINING_SOURCES)
EXPORT_SOURCES = ("export", *TRAINING_SOURCES)
HEADLINE_METRICS = ("hit_rate_at_10", "ndcg_at_10")


@dataclass(frozen=True)
class Build:
    """What is to be built, from what, and where.

    Attributes:
        source: the files to read.
        recipe: the choices.
        root: folder of the stages; the bundle is `root/bundle`.
        split: how interactions are held out; choices are made and figures measured on them.
        refit: put the model trained on everything, held-out interactions too, into the bundle.
        regenerate: pass over the knowledge that comes with the project.
        say: told what is going on, a line at a time.
    """

    source: Source
    recipe: Recipe
    root: Path
    split: SplitName = "leave_one_out"
    refit: bool = False
    regenerate: bool = False
    log: Log = print

    def run(self) -> Path:
        """Bring every stage up to date and answer the bundle's folder.

        Raises:
            LongtailError: in one line, what can't be used or done.
        """
        if self.recipe.encoding.shuffled:
            raise ConfigError(
                "encoding.shuffled = true: a control for `longtail benchmark`; a bundle of it "
                "would answer by texts of other items"
            )
        with locked(self.root):
            data = self.read_data()
            self.announce_cost(data)
            knowledge = self.generate_knowledge(data)
            tuned = self.tune_encoder(data, knowledge)
            vectors = self.encode_items(knowledge, tuned)
            encoder = self.export_encoder(knowledge, tuned)
            chosen = self.train(data, vectors)
            report = self.evaluate(data, chosen)
            served = self.refit_on_everything(data, vectors, chosen) if self.refit else chosen
            exported = self.export(data, served)
            return write_bundle(
                self.root / "bundle",
                BundleParts(data, vectors, encoder, served, report, exported),
                configuration={
                    "recipe": self.recipe.model_dump(),
                    "item_kind": self.knowledge_config.item_kind,
                    "split": self.split,
                    "refit": self.refit,
                },
                log=self.log,
            )

    def announce_cost(self, data: Artifact) -> None:
        """Log what the stages that will be run are expected to take, before they are."""
        planned = self._plan(data)
        pending = [stage.name for stage in planned if not is_current(stage, self.root)]
        if not pending:
            return
        from offline.cost import expected_costs

        recipe = self.recipe.model_copy(update={"knowledge": self.knowledge_config})
        self.log("expected:")
        for cost in expected_costs(pending, data, recipe, regenerate=self.regenerate):
            self.log(f"  {cost}")

    def _plan(self, data: Artifact) -> list[Stage]:
        """The stages that can take long."""
        knowledge = self._knowledge_stage(data)
        stages = [knowledge]
        made_from = self._encoder_inputs()
        if self.recipe.behaviour.stages:
            stages.append(self._behaviour_stage(data, knowledge.fingerprint()))
            made_from = {"behaviour": stages[-1].fingerprint()}
        encoding = self._encoding_stage(knowledge.fingerprint(), made_from)
        return [*stages, encoding, self._training_stage(data, encoding.fingerprint())]

    @property
    def knowledge_config(self) -> KnowledgeConfig:
        """The recipe's, with the source's word for its items where the recipe has none."""
        config = self.recipe.knowledge
        if config.item_kind != DEFAULT_ITEM_KIND:
            return config
        return config.model_copy(update={"item_kind": self.source.item_kind})

    def run_stage(self, stage: Stage, produce: Callable[[Path], Facts]) -> Artifact:
        """Run one stage, or take what it left last time."""
        return run_stage(stage, self.root, produce, self.log)

    def read_data(self) -> Artifact:
        """Read, check, number and split the interactions."""

        def produce(folder: Path) -> Facts:
            from offline.data.dataset import read_dataset
            from offline.data.split import SPLITS

            dataset = read_dataset(self.source.interactions, self.source.items)
            for line in dataset.issues.lines():
                self.log(f"  {line}")
            dataset.save(folder)
            interactions = dataset.interactions
            split = SPLITS[self.split](interactions)
            split.need_cases()
            split.save(folder / "split")
            return {
                "interactions": len(interactions),
                "users": interactions.n_users,
                "items": interactions.n_items,
            }

        config = {"split": self.split}
        return self.run_stage(
            Stage("data", ("data",), config, {"files": self.source.fingerprint()}), produce
        )

    def generate_knowledge(self, data: Artifact) -> Artifact:
        """Have the language model write what each item is and who likes it (SeRALM 4.2)."""
        config = self.knowledge_config

        def produce(folder: Path) -> Facts:
            from offline.item_text import item_texts
            from offline.knowledge.generation import generate_knowledge

            ids, attributes = read_catalogue(data)
            texts = item_texts(attributes, ids)
            knowledge, report = generate_knowledge(
                texts, config, cache_folder(), regenerate=self.regenerate
            )
            write_json(folder / "item_texts.json", texts)
            write_json(folder / "knowledge.json", knowledge)
            write_json(folder / "report.json", report.to_json())
            facts = {"texts": report.n_texts, "bundled": report.from_bundled}
            return facts | {"cached": report.from_cache, "generated": report.generated}

        return self.run_stage(self._knowledge_stage(data), produce)

    def _knowledge_stage(self, data: Artifact) -> Stage:
        settings = self.knowledge_config.model_dump() | {"regenerate": self.regenerate}
        sources = ("knowledge", "item_text.py")
        return Stage("knowledge", sources, settings, {"data": data.fingerprint})

    def tune_encoder(self, data: Artifact, knowledge: Artifact) -> Artifact | None:
        """Tune the text encoder on behaviour (Rethinking PLM 3.1); None where that isn't wanted."""
        config, encoding = self.recipe.behaviour, self.recipe.encoding
        if not config.stages:
            return None

        def produce(folder: Path) -> Facts:
            from offline.behaviour.stages import describe, tune_on_behaviour
            from offline.data.split import Split
            from offline.encoding.item_vectors import texts_to_encode

            texts = read_json(knowledge.path("item_texts.json"))
            written = read_json(knowledge.path("knowledge.json"))
            texts = texts_to_encode(texts, written, encoding.text)
            split = Split.load(data.path("split"))
            records = tune_on_behaviour(texts, split, config, encoding.encoder, folder)
            write_json(folder / "record.json", {k: r.to_dict() for k, r in records.items()})
            return describe(records)

        return self.run_stage(self._behaviour_stage(data, knowledge.fingerprint), produce)

    def _behaviour_stage(self, data: Artifact, knowledge: str) -> Stage:
        config, encoding = self.recipe.behaviour, self.recipe.encoding
        described = config.model_dump() | {"encoder": encoding.encoder, "text": encoding.text}
        inputs = {"data": data.fingerprint, "knowledge": knowledge}
        if config.start:
            inputs["start"] = hash_inputs([Path(config.start)])
        return Stage("behaviour", TUNING_SOURCES, described, inputs)

    def _encoder(self, tuned: Artifact | None) -> tuple[str, dict[str, str]]:
        """The text encoder's name or folder, and what it was made from."""
        if tuned is not None:
            stage = self.recipe.behaviour.items_by
            return str(tuned.path(stage)), {"behaviour": tuned.fingerprint}
        return self.recipe.encoding.encoder, self._encoder_inputs()

    def _encoder_inputs(self) -> dict[str, str]:
        """What an encoder that nobody tunes was made from: its folder, where it is one."""
        name = Path(self.recipe.encoding.encoder)
        return {"encoder": hash_inputs([name])} if name.is_dir() else {}

    def encode_items(self, knowledge: Artifact, tuned: Artifact | None = None) -> Artifact:
        """Turn every item's text into a knowledge vector (SeRALM equation 2)."""
        config = self.recipe.encoding
        name, made_from = self._encoder(tuned)

        def produce(folder: Path) -> Facts:
            from offline.encoding.item_vectors import encode_items
            from offline.encoding.sentence_encoder import SentenceEncoder

            texts = read_json(knowledge.path("item_texts.json"))
            written = read_json(knowledge.path("knowledge.json"))
            encoder = SentenceEncoder(name, cache_folder())
            rows = encode_items(texts, written, config, encoder)
            # Row 0 is padding's, so that an item_index is a row number everywhere.
            vectors = np.vstack([np.zeros((1, rows.shape[1]), np.float32), rows])
            save_array(folder / "knowledge_vectors.npy", vectors)
            return {"vectors": len(rows), "size": rows.shape[1]}

        return self.run_stage(self._encoding_stage(knowledge.fingerprint, made_from), produce)

    def _encoding_stage(self, knowledge: str, made_from: dict[str, str]) -> Stage:
        inputs = {"knowledge": knowledge, **made_from}
        return Stage("encoding", ("encoding",), self.recipe.encoding.model_dump(), inputs)

    def export_encoder(self, knowledge: Artifact, tuned: Artifact | None = None) -> Artifact:
        """Export the text encoder for the service, checked against torch on item texts."""
        name, made_from = self._encoder(tuned)

        def produce(folder: Path) -> Facts:
            from offline.encoding.onnx_export import export_text_encoder
            from offline.encoding.sentence_encoder import SentenceEncoder

            texts = read_json(knowledge.path("item_texts.json"))[:N_PARITY_TEXTS]
            encoder = SentenceEncoder(name, cache_folder())
            report = export_text_encoder(encoder, folder, texts)
            return {"difference": report.largest_difference, "query_ms": report.query_ms}

        # The texts only check the export, so another catalogue doesn't make it anew.
        config = {"encoder": self.recipe.encoding.encoder}
        return self.run_stage(Stage("text_encoder", ("encoding",), config, made_from), produce)

    def train(self, data: Artifact, vectors: Artifact) -> Artifact:
        """Train the recommender, its epoch chosen on validation (SeRALM 4.3)."""

        def produce(folder: Path) -> Facts:
            from offline.data.split import Split
            from offline.recommender.recommender import TrainingData
            from offline.recommender.sequential import SequenceRecommender

            ids, _ = read_catalogue(data)
            split = Split.load(data.path("split"))
            training = TrainingData.of_split(split, len(ids), read_vectors(vectors))
            model = SequenceRecommender(self.recipe.recommender, self.recipe.training)
            model.fit(training, folder / CHECKPOINT).save(folder)
            save_array(folder / "popularity.npy", training.counts().astype(np.float32))
            shutil.rmtree(folder / CHECKPOINT)
            record = model.record
            return {
                "best_epoch": record.best_epoch,
                "best_phase": record.best_phase,
                "ndcg_at_10": round(record.best_ndcg or 0.0, 4),
                "epochs_s": round(record.seconds, 2),
            }

        return self.run_stage(self._training_stage(data, vectors.fingerprint), produce)

    def _training_stage(self, data: Artifact, encoding: str) -> Stage:
        config = {"recommender": self.recipe.recommender, "training": self.recipe.training}
        inputs = {"data": data.fingerprint, "encoding": encoding}
        described = {name: choices.model_dump() for name, choices in config.items()}
        return Stage("recommender", TRAINING_SOURCES, described, inputs)

    def evaluate(self, data: Artifact, trained: Artifact) -> Artifact:
        """Rank every held-out interaction with the model and the baselines."""

        def produce(folder: Path) -> Facts:
            from offline.data.split import Split
            from offline.evaluate.report import write_report
            from offline.recommender.baselines import Markov, Popularity
            from offline.recommender.recommender import Recommender, TrainingData
            from offline.recommender.sequential import SequenceRecommender

            ids, _ = read_catalogue(data)
            split = Split.load(data.path("split"))
            training = TrainingData.of_split(split, len(ids))
            model = SequenceRecommender.load(trained.folder)
            models: dict[str, Recommender] = {
                model.name: model,
                Markov.name: Markov().fit(training),
                Popularity.name: Popularity().fit(training),
            }
            report = write_report(
                models,
                split,
                len(ids),
                folder,
                split_name=self.split,
                facts={
                    "recipe": self.recipe.model_dump(),
                    "training_seconds": trained.facts["epochs_s"],
                    "code_revision": code_revision(),
                },
                training=model.record.to_dict()["epochs"],
            )
            figures = report["models"][model.name]["test"]["all"]
            return {name: round(figures[name], 4) for name in HEADLINE_METRICS}

        inputs = {"data": data.fingerprint, "recommender": trained.fingerprint}
        return self.run_stage(Stage("evaluate", EVALUATION_SOURCES, {}, inputs), produce)

    def refit_on_everything(self, data: Artifact, vectors: Artifact, chosen: Artifact) -> Artifact:
        """Train again on all interactions, for as many epochs as proved best."""

        def produce(folder: Path) -> Facts:
            from offline.data.interactions import Interactions
            from offline.recommender.recommender import TrainingData
            from offline.recommender.sequential import SequenceRecommender

            everything = TrainingData.of_everything(
                Interactions.load(data.folder), read_vectors(vectors)
            )
            model = SequenceRecommender.load(chosen.folder).refit(everything, folder / CHECKPOINT)
            model.save(folder)
            save_array(folder / "popularity.npy", everything.counts().astype(np.float32))
            shutil.rmtree(folder / CHECKPOINT)
            return {"epochs": len(model.record.epochs)}

        inputs = {"data": data.fingerprint, "recommender": chosen.fingerprint}
        return self.run_stage(Stage("refit", TRAINING_SOURCES, {}, inputs), produce)

    def export(self, data: Artifact, model: Artifact) -> Artifact:
        """Export graph, item table and golden requests, checked against torch."""

        def produce(folder: Path) -> Facts:
            from offline.data.interactions import Interactions
            from offline.export.bundle_files import export_model
            from offline.recommender.sequential import SequenceRecommender

            interactions = Interactions.load(data.folder)
            histories = [interactions.history(user) for user in range(interactions.n_users)]
            report = export_model(
                SequenceRecommender.load(model.folder),
                interactions.item_ids,
                histories,
                folder,
                retrieval=self.recipe.retrieval,
            )
            facts: dict[str, object] = {
                "checked": report.parity.n_histories,
                "largest_difference": float(f"{report.parity.max_difference:.2g}"),
                "request_ms": round(report.request_ms, 3),
            }
            if report.retriever:
                facts["recall_at_10"] = report.retriever.probes[0].recall
            return facts

        config = self.recipe.retrieval.model_dump()
        inputs = {"data": data.fingerprint, model.folder.name: model.fingerprint}
        return self.run_stage(Stage("export", EXPORT_SOURCES, config, inputs), produce)
