"""A loaded version: everything needed to answer with it, in one immutable object.

A request takes the current Model once, at its start, and uses it to the end; a flip replaces the
whole object, so no answer is ever made by two versions, and nothing needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.background import yield_cpu
from app.model.filters import FilterIndex
from app.model.inference import Provider, SequenceModel, TextEncoder, open_session
from app.model.knowledge import Knowledge
from app.model.popularity import Popularity
from app.model.ranking import mask, top_k
from app.model.retrieval import Retriever
from model_store import bundle as files
from model_store.attributes import ItemAttributes
from model_store.bundle import Bundle, GoldenRequest
from model_store.errors import BundleError
from model_store.id_map import IdMap
from model_store.publication import FreshItem

SCORE_TOLERANCE = 1e-3
CHECKED_ROWS = 1_000_000


@dataclass(frozen=True)
class Model:
    """One version, ready to answer; N items, fresh ones behind the trained ones."""

    version: str
    ids: IdMap
    attributes: ItemAttributes
    filters: FilterIndex
    sequence: SequenceModel
    popularity: Popularity
    retriever: Retriever | None
    """Finds the best items of a large catalogue; None: all of them are scored."""
    knowledge: Knowledge | None
    fresh_projection: FloatArray | None
    knowledge_vectors: FloatArray | None
    n_fresh: int = 0
    n_fresh_read: int = 0
    """Entries of the version's list of fresh items that were looked at, usable or not."""

    @property
    def table(self) -> FloatArray:
        """Item vectors, float32 [N+1, D]."""
        return self.sequence.table

    @cached_property
    def attribute_kinds(self) -> dict[str, str]:
        """Kind of each attribute, by name."""
        found = {name: self.attributes.get(name) for name in self.attributes.names}
        return {name: attribute.kind for name, attribute in found.items() if attribute}

    @cached_property
    def lengths(self) -> FloatArray:
        """Length of each item vector, [N+1], never zero; made at load, for cosines."""
        lengths: FloatArray = np.sqrt(np.einsum("nd,nd->n", self.table, self.table))
        return np.maximum(lengths, np.float32(1e-12))

    def extended(self, items: Sequence[FreshItem]) -> Model:
        """This model with fresh items behind the present ones, whose indices stay.

        Args:
            items: unknown so far, each vector float32 [K], attributes of the catalogue's kinds.

        Raises:
            BundleError: the bundle has no knowledge to place fresh items by.
        """
        if self.fresh_projection is None or self.knowledge_vectors is None:
            raise BundleError(f"version {self.version} has no knowledge to place fresh items by")
        vectors = np.stack([item.vector for item in items]).astype(np.float32)
        ones = np.ones((len(items), 1), dtype=np.float32)
        rows = np.hstack([vectors, ones]) @ self.fresh_projection
        attributes = self.attributes.extended([item.attributes for item in items])  # type: ignore[misc]
        vectors = np.concatenate([self.knowledge_vectors, vectors])
        table = np.concatenate([self.table, rows])
        grown = replace(
            self,
            ids=self.ids.extended(item.item_id for item in items),
            attributes=attributes,
            filters=FilterIndex(attributes),
            sequence=self.sequence.with_table(table),
            popularity=self.popularity.extended(len(items)),
            retriever=self.retriever.with_table(table) if self.retriever else None,
            knowledge=self.knowledge.with_vectors(vectors) if self.knowledge else None,
            knowledge_vectors=vectors,
            n_fresh=self.n_fresh + len(items),
        )
        return warmed_up(grown)


def load_model(bundle: Bundle, provider: Provider = "cpu") -> Model:
    """Load a bundle, replay its golden requests, warm it up.

    Args:
        bundle: already checked against its sums.
        provider: where the sequence graph runs; the text encoder runs on the CPU.

    Raises:
        ConfigError: the provider that is wanted isn't there.
        BundleError: something in it can't be used, or it doesn't give its golden answers.
    """
    yield_cpu()
    session = open_session(bundle.folder / files.MODEL, provider)
    table = bundle.item_table
    if not _is_finite(table):
        raise BundleError(f"{bundle.folder / files.ITEM_TABLE}: holds NaN or infinity")
    knowledge = None
    if bundle.has(files.TEXT_ENCODER) and bundle.knowledge_vectors is not None:
        encoder = TextEncoder(bundle.folder / files.TEXT_ENCODER, bundle.folder / files.TOKENIZER)
        knowledge = Knowledge(encoder, bundle.knowledge_vectors)
    yield_cpu()
    model = Model(
        version=bundle.version,
        ids=bundle.item_ids.with_table(),
        attributes=bundle.attributes,
        filters=FilterIndex(bundle.attributes),
        sequence=SequenceModel(session, table, bundle.manifest.model.max_length),
        popularity=Popularity(np.array(bundle.popularity)),
        retriever=Retriever.open(bundle, table),
        knowledge=knowledge,
        fresh_projection=bundle.fresh_projection,
        knowledge_vectors=bundle.knowledge_vectors,
    )
    replay_golden(model, bundle)
    return warmed_up(model)


def replay_golden(model: Model, bundle: Bundle) -> None:
    """Ask the golden requests again; the same items and scores must come out.

    Raises:
        BundleError: naming the first request that is answered otherwise, or what a retriever
            finds of them where that is too little.
    """
    histories = []
    for number, golden in enumerate(bundle.golden):
        history, n_unknown = model.ids.indices(golden.history)
        if n_unknown:
            raise BundleError(f"golden request {number}: {n_unknown} items are not in the id map")
        histories.append(history)
    if model.retriever is not None:
        _replay_with_retriever(model, model.retriever, bundle.golden, histories)
        return
    for number, (golden, history) in enumerate(zip(bundle.golden, histories, strict=True)):
        [scores] = _infer(model.sequence.scores, [history], number)
        mask(scores, history)
        best = top_k(scores, golden.k)
        found = tuple(model.ids.id_of(int(index)) for index in best)
        if found != golden.item_ids:
            raise BundleError(
                f"golden request {number}: answers {list(found)}, expected {list(golden.item_ids)}"
            )
        _compare_scores(number, golden, scores[best])
        yield_cpu()


def _replay_with_retriever(
    model: Model,
    retriever: Retriever,
    requests: Sequence[GoldenRequest],
    histories: Sequence[IndexArray],
) -> None:
    """Golden answers come from scoring everything, which would take minutes here."""
    users, wanted = [], []
    for number, (golden, history) in enumerate(zip(requests, histories, strict=True)):
        [user] = _infer(model.sequence.user_vectors, [history], number)
        items, n_unknown = model.ids.indices(golden.item_ids)
        if n_unknown:
            raise BundleError(f"golden request {number}: {n_unknown} items are not in the id map")
        _compare_scores(number, golden, model.table[items] @ user)
        users.append(user)
        wanted.append(items)
        yield_cpu()
    retriever.verify(np.stack(users), wanted, histories)


def _infer(
    ask: Callable[[Sequence[IndexArray]], list[FloatArray]],
    histories: Sequence[IndexArray],
    number: int,
) -> list[FloatArray]:
    try:
        return ask(histories)
    except Exception as error:  # onnxruntime's many types; the bundle is to blame for all
        raise BundleError(f"golden request {number}: the graph failed ({error})") from error


def _compare_scores(number: int, golden: GoldenRequest, scores: FloatArray) -> None:
    worst = float(np.max(np.abs(scores - np.array(golden.scores, dtype=np.float32))))
    if not worst <= SCORE_TOLERANCE:
        raise BundleError(f"golden request {number}: scores differ by {worst:.2g}")


def _is_finite(table: FloatArray) -> bool:
    """Looked at in parts: a mask of all of a large table would take as much memory as a third."""
    return all(
        bool(np.isfinite(table[start : start + CHECKED_ROWS]).all())
        for start in range(0, len(table), CHECKED_ROWS)
    )


def warmed_up(model: Model) -> Model:
    """Run every graph at a few shapes, and make what is made once, before requests come."""
    for length in (1, model.sequence.max_length):
        history = np.ones(length, dtype=np.int32)
        [user] = model.sequence.user_vectors([history])
        if model.retriever is None:
            model.sequence.scores([history, history])
        else:
            model.retriever.best(user, 10, history, None)
    if model.knowledge:
        model.knowledge.similarities(["warm up"])
    _ = model.lengths, model.popularity.n_interactions, model.popularity.order
    return model
