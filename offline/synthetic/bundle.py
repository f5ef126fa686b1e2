"""A complete bundle of synthetic items, written as a build would write it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter
from model_store.files import save_array, write_atomically
from model_store.manifest import EncoderInfo, ModelInfo, RetrieverInfo
from offline.export.retriever import build_retriever
from offline.progress import Progress
from offline.recommender.exported import ExportedNetwork
from offline.recommender.graph import export_graph
from offline.revision import code_revision
from offline.synthetic.catalogue import make_attributes, make_ids
from offline.synthetic.model import MadeModel
from offline.synthetic.reranker import write_reranker
from offline.synthetic.world import Items, World, histories_of_lengths

HISTORY_LENGTHS = (5, 20, 50, 200)
USERS_PER_LENGTH = 250
KNOWLEDGE_SIZE = 32
_MEASURED_USERS = 500
_N_GOLDEN = 20
_K = 10
_FIRST_TIMESTAMP = 1_000_000_000.0

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MadeBundle:
    """The content of a bundle.

    Attributes:
        world: the items and the behaviour of people.
        model: backbone and item table.
        knowledge: add knowledge vectors and a fresh projection.
        exact_up_to: items up to which there is no retriever.
        reranker_layers: of the reranker's language model; 0: it is behind an endpoint; None: the
            bundle has no reranker.
    """

    world: World
    model: MadeModel
    knowledge: bool
    exact_up_to: int
    reranker_layers: int | None = None

    @property
    def version(self) -> str:
        """The version, named by size and kind, so that several can be published together."""
        suffix = "-knowledge" if self.knowledge else ""
        if self.reranker_layers is not None:
            suffix += f"-reranker{self.reranker_layers}"
        return f"synthetic-{self.world.n_items}{suffix}-{self.model.name}-{self.world.seed}"

    @property
    def has_retriever(self) -> bool:
        """Whether the catalogue is too large to score every item."""
        return self.world.n_items > self.exact_up_to

    def write(self, folder: Path) -> Bundle:
        """Write the bundle into `folder`.

        Raises:
            BundleError: there is one already.
        """
        rng = np.random.default_rng([self.world.seed, self.world.n_items, 3])
        lengths = np.array(HISTORY_LENGTHS * USERS_PER_LENGTH)
        # Users have seen at most half of a tiny catalogue.
        lengths = np.minimum(lengths, max(1, self.world.n_items // 2))
        with BundleWriter(folder) as writer, Progress("bundle", 8, "step") as progress:
            histories = histories_of_lengths(self.world, lengths, rng)
            _write_users(writer, histories)
            progress.advance(note="item table")
            writer.write(files.ITEM_TABLE, lambda path: save_array(path, self.model.item_table))
            writer.write(files.POPULARITY, lambda path: save_array(path, self.model.popularity))
            progress.advance(note="graph and golden requests")
            self._write_graph(writer, histories)
            progress.advance(note="retriever" if self.has_retriever else "")
            retriever = self._write_retriever(writer) if self.has_retriever else None
            progress.advance(note="ids and attributes")
            writer.write(files.ITEM_IDS, make_ids(self.world.n_items).save)
            writer.write(files.ATTRIBUTES, make_attributes(self.world).save)
            progress.advance(note="knowledge" if self.knowledge else "")
            if self.knowledge:
                self._write_knowledge(writer)
            progress.advance(note="" if self.reranker_layers is None else "reranker")
            reranker = None
            if self.reranker_layers is not None:
                users = self.model.user_vectors(histories)
                reranker = write_reranker(
                    writer, self.world, histories, users, self.reranker_layers
                )
            progress.advance(note="checksums")
            bundle = writer.finish(
                version=self.version,
                retriever=retriever,
                reranker=reranker,
                **self._described(len(histories)),
            )
            progress.advance()
        return bundle

    def _write_graph(self, writer: BundleWriter, histories: list[Items]) -> None:
        table = self.model.item_table

        def write(path: Path) -> None:
            export_graph(self.model.backbone, table.shape[1], path)
            network = ExportedNetwork(path, table, self.model.max_length)
            golden = _golden_requests(network, histories[:_N_GOLDEN])
            write_atomically(path.with_name(files.GOLDEN), json.dumps(golden, indent=1).encode())

        writer.write(files.MODEL, write)

    def _write_retriever(self, writer: BundleWriter) -> RetrieverInfo:
        """Measured on people other than the bundle's users."""
        rng = np.random.default_rng([self.world.seed, self.world.n_items, 8])
        lengths = np.repeat(HISTORY_LENGTHS, _MEASURED_USERS // len(HISTORY_LENGTHS))
        histories = histories_of_lengths(self.world, lengths, rng)
        users = self.model.user_vectors(histories)
        found: list[RetrieverInfo] = []

        def write(path: Path) -> None:
            found.append(build_retriever(self.model.item_table, users, path.parent))

        writer.write(files.RETRIEVER, write)
        return found[0]

    def _write_knowledge(self, writer: BundleWriter) -> None:
        """Random vectors of the shape of real knowledge."""
        rng = np.random.default_rng([self.world.seed, self.world.n_items, 4])
        rows, size = self.model.item_table.shape
        vectors = rng.standard_normal((rows, KNOWLEDGE_SIZE), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[0] = 0
        projection = rng.normal(0, 0.1, (KNOWLEDGE_SIZE + 1, size)).astype(np.float32)
        writer.write(files.KNOWLEDGE_VECTORS, lambda path: save_array(path, vectors))
        writer.write(files.FRESH_PROJECTION, lambda path: save_array(path, projection))

    def _described(self, n_users: int) -> dict[str, Any]:
        size = self.model.item_table.shape[1]
        return {
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": ModelInfo.of_sequence_graph("sasrec", size, self.model.max_length),
            "encoder": EncoderInfo(name="synthetic", vector_size=KNOWLEDGE_SIZE, has_graph=False)
            if self.knowledge
            else None,
            "n_items": self.world.n_items,
            "n_users": n_users,
            "metrics": self.model.metrics,
            "inputs": {},
            "configuration": {"synthetic": {"seed": self.world.seed, "vectors": self.model.name}},
            "code_revision": code_revision(),
        }


def _golden_requests(network: ExportedNetwork, histories: list[Items]) -> list[dict[str, Any]]:
    golden = []
    for history in histories:
        scores = network.score([history])[0].copy()
        scores[0] = scores[history] = -np.inf
        k = min(_K, len(scores) - 1 - len(history))
        near = np.sort(np.argpartition(-scores, k - 1)[:k])
        best = near[np.argsort(-scores[near], kind="stable")]
        golden.append(
            {
                "history": [f"i{item}" for item in history],
                "k": k,
                "item_ids": [f"i{item}" for item in best],
                "scores": [float(score) for score in scores[best]],
            }
        )
    return golden


def _write_users(writer: BundleWriter, histories: list[Items]) -> None:
    ids = [f"u{number}" for number in range(1, len(histories) + 1)]
    lengths = [len(history) for history in histories]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    times = np.concatenate([_FIRST_TIMESTAMP + 60.0 * np.arange(length) for length in lengths])
    items = np.concatenate(histories)
    writer.write(files.USER_IDS, lambda path: write_atomically(path, json.dumps(ids).encode()))
    writer.write(files.USER_OFFSETS, lambda path: save_array(path, offsets))
    writer.write(files.USER_ITEMS, lambda path: save_array(path, items))
    writer.write(files.USER_TIMESTAMPS, lambda path: save_array(path, times))
