"""A loaded version: everything needed to answer with it, in one object.

A request takes the current Model once, at its start, and uses it to the end. A swap replaces the
whole object, so no answer mixes two versions, and no lock is needed. Only what operators change of
single items is changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.availability import Availability
from app.model.background import yield_cpu
from app.model.filters import FilterIndex
from app.model.inference import (
    Provider,
    SequenceModel,
    TextEncoder,
    check_tensors,
    open_session,
)
from app.model.knowledge import Knowledge
from app.model.popularity import Popularity
from app.model.ranking import mask, top_k
from app.model.rating import RatingModel, load_rating_model
from app.model.retrieval import Retriever
from app.model.rule_book import RuleBook
from model_store import bundle as files
from model_store.attributes import AttributeValue, ItemAttributes
from model_store.bundle import Bundle
from model_store.errors import BundleError
from model_store.event_rules import DEFAULT_EVENTS, EventsInfo
from model_store.fresh_items import FreshItem
from model_store.golden import GoldenRequest
from model_store.id_map import IdMap
from model_store.knowledge_texts import FIELD, KnowledgeTexts
from model_store.manifest import Kind, RatingModelInfo
from model_store.reading import bundle_errors
from model_store.repeats import Repeats
from model_store.reranker import RerankerInfo


@dataclass(frozen=True)
class Model:
    """One version, ready to answer; N items, fresh ones after the trained ones."""

    version: str
    folder: Path
    """Where its bundle is."""
    ids: IdMap
    attributes: ItemAttributes
    filters: FilterIndex
    network: SequenceModel | RatingModel
    """What answers, by the kind of bundle."""
    popularity: Popularity
    retriever: Retriever | None
    """Finds the best items of a large catalogue; None: all of them are scored."""
    knowledge: Knowledge | None
    fresh_projection: FloatArray | None
    knowledge_vectors: FloatArray | None
    knowledge_texts: KnowledgeTexts
    """What a language model wrote about the items; read when a request asks for it."""
    reranker: RerankerInfo | None = None
    """How a language model reranks its answers; None: none does."""
    kind: Kind = "sequential"
    """Of its bundle."""
    repeats: Repeats = "keep"
    """How repeats of an item in a history are collapsed before it is read."""
    events: EventsInfo = DEFAULT_EVENTS
    """How events are read: positive, negative or context only."""
    created_s: float = 0.0
    """When the bundle was written, in seconds since 1970; 0 where its manifest doesn't tell."""
    n_fresh: int = 0
    n_fresh_read: int = 0
    """Number of entries of the version's list of fresh items that were read, usable or not."""
    last_fresh_read: bytes | None = None
    """The last of them."""
    availability: Availability = field(default_factory=Availability)
    """Which items are withdrawn. This and attributes change in place: a change of the catalogue
    costs the same whatever its size. An answer shows an item as it was or as it is."""
    rules: RuleBook | None = None
    """Operators' rules, compiled for its items; None: there are none."""

    @property
    def table(self) -> FloatArray:
        """Item vectors, float32 [N+1, D]."""
        return self.network.table

    @property
    def sequence(self) -> SequenceModel:
        """The network over histories of a bundle of kind sequential."""
        assert isinstance(self.network, SequenceModel)  # noqa: S101 - other kinds have own sources
        return self.network

    @cached_property
    def rating(self) -> RatingModel | None:
        """The predictor of ratings of a bundle of kind rating; None in others."""
        return self.network if isinstance(self.network, RatingModel) else None

    @cached_property
    def attribute_kinds(self) -> dict[str, str]:
        """Kind of each attribute, by name."""
        found = {name: self.attributes.get(name) for name in self.attributes.names}
        return {name: attribute.kind for name, attribute in found.items() if attribute}

    @cached_property
    def field_kinds(self) -> dict[str, str]:
        """Kind of each field that an item of an answer can have, by name: attributes, knowledge.

        An attribute named `knowledge` is the catalogue's own, and comes instead of the text.
        """
        return {**self.attribute_kinds, FIELD: self.attribute_kinds.get(FIELD, "text")}

    def fields_of(self, item_index: int, names: Sequence[str]) -> dict[str, Any]:
        """The values of an item's fields, None where it has none."""
        values: dict[str, Any] = self.attributes.row(item_index, names)
        if FIELD in names and FIELD not in values:
            values[FIELD] = self.knowledge_texts.text_of(item_index)
        return values

    def fields_of_each(
        self, item_indices: Sequence[int], names: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The `fields_of` each item; all indices are in 1..N."""
        rows: list[dict[str, Any]] = self.attributes.rows(item_indices, names)
        if FIELD in names and FIELD not in self.attributes.names:
            for row, index in zip(rows, item_indices, strict=True):
                row[FIELD] = self.knowledge_texts.text_of(index)
        return rows

    def title_of(self, item_index: int) -> str | None:
        """An item's title, None where it has none."""
        title = self.attributes.row(item_index, ("title",)).get("title")
        return title if isinstance(title, str) else None

    @cached_property
    def centre(self) -> FloatArray:
        """Mean vector of all items, [D]."""
        centre: FloatArray = self.table[1:].mean(axis=0)
        return centre

    @cached_property
    def lengths(self) -> FloatArray:
        """Length of each item vector, [N+1], never zero; computed at load, for cosines."""
        return _lengths_of(self.table)

    def change_attribute(self, item_index: int, name: str, value: AttributeValue) -> None:
        """Set an attribute of an item, for filters as for `fields`.

        Args:
            item_index: in 1..N.
            name: of an attribute of the catalogue.
            value: of its kind; None: the item has none.
        """
        before = self.attributes.change(item_index, name, value)
        if before != value:
            self.filters.change(item_index, name, before, value)

    def with_rules(self, rules: RuleBook | None) -> Self:
        """This model with other rules; all that was computed of it is kept."""
        return self._with(rules=rules)

    def with_fresh_read(self, n_read: int, last: bytes) -> Self:
        """This model as far as its list of fresh items was read; all else is kept."""
        return self._with(n_fresh_read=n_read, last_fresh_read=last)

    def _with(self, **changes: object) -> Self:
        """A copy with other fields, of which no cached value is made: those go along."""
        other = copy(self)
        for name, value in changes.items():
            object.__setattr__(other, name, value)
        return other

    def extended(self, items: Sequence[FreshItem]) -> Model:
        """This model with fresh items appended, and without rules; present indices stay.

        Args:
            items: unknown so far, each vector float32 [K], attributes of the catalogue's kinds.

        Raises:
            BundleError: the bundle has no knowledge to place fresh items by.
        """
        if self.fresh_projection is None or self.knowledge_vectors is None:
            raise BundleError(f"version {self.version} has no knowledge to place fresh items by")
        # Taken first: what changes from here on is to be read again.
        availability = self.availability.copy()
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
            network=self.sequence.with_table(table),
            popularity=self.popularity.extended(len(items)),
            retriever=self.retriever.with_table(table) if self.retriever else None,
            knowledge=self.knowledge.with_vectors(vectors) if self.knowledge else None,
            knowledge_vectors=vectors,
            knowledge_texts=self.knowledge_texts.extended([item.knowledge for item in items]),
            n_fresh=self.n_fresh + len(items),
            availability=availability,
            rules=None,
        )
        # Of a large table they take long; those of the rows that stay are there.
        grown.__dict__["lengths"] = np.concatenate([self.lengths, _lengths_of(rows)])
        _run_sequence(grown)
        return warmed_up(grown)


def load_model(bundle: Bundle, provider: Provider = "cpu") -> Model:
    """Load a bundle, replay its golden requests and warm it up.

    Args:
        bundle: already checked against its checksums.
        provider: where the sequence graph runs; the text encoder runs on the CPU.

    Raises:
        ConfigError: the requested provider isn't available.
        BundleUnavailable: a file can't be read now, or there is too little memory.
        BundleError: something in it can't be used, or it doesn't give its golden answers.
    """
    yield_cpu()
    graph, info = bundle.folder / files.MODEL, bundle.manifest.model
    network: SequenceModel | RatingModel
    if isinstance(info, RatingModelInfo):
        network = load_rating_model(bundle, info, provider)
    else:
        session = open_session(graph, provider)
        check_tensors(graph, session, info.inputs, info.outputs)
        network = SequenceModel(session, bundle.item_table, info.max_length)
    yield_cpu()
    knowledge = None
    if bundle.has(files.TEXT_ENCODER) and bundle.knowledge_vectors is not None:
        encoder = TextEncoder(
            bundle.folder / files.TEXT_ENCODER,
            bundle.folder / files.TOKENIZER,
            bundle.knowledge_vectors.shape[1],
        )
        knowledge = Knowledge(encoder, bundle.knowledge_vectors)
    yield_cpu()
    model = Model(
        version=bundle.version,
        folder=bundle.folder,
        ids=bundle.item_ids.with_table(),
        attributes=bundle.attributes,
        filters=FilterIndex(bundle.attributes),
        network=network,
        popularity=Popularity(np.array(bundle.popularity)),
        retriever=Retriever.open(bundle, bundle.item_table),
        knowledge=knowledge,
        fresh_projection=bundle.fresh_projection,
        knowledge_vectors=bundle.knowledge_vectors,
        knowledge_texts=bundle.knowledge_texts,
        reranker=bundle.manifest.reranker,
        kind=bundle.manifest.kind,
        repeats=info.repeats,
        events=bundle.manifest.events,
        created_s=_unix_time(bundle.manifest.created_at),
    )
    if model.rating is None:
        _check_answers(model, graph)
        replay_golden(model, bundle)
    return warmed_up(model)


def _unix_time(text: str) -> float:
    """Seconds since 1970 of an ISO time, 0 where it is none; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _check_answers(model: Model, graph: Path) -> None:
    """Score histories of all lengths, across the catalogue, alone and together.

    Raises:
        BundleError: the graph fails, or its answers are not as many finite numbers as there are
            items.
    """
    longest = model.sequence.max_length
    lengths = sorted({1, 2, longest // 2 + 1, longest})
    histories = [np.linspace(1, len(model.ids), n, dtype=np.int32) for n in lengths]
    rows, size = model.table.shape
    with bundle_errors(graph, "the graph fails"):
        for asked in (histories[:1], [histories[0]] * 3, histories):
            for ask, length in ((model.sequence.user_vectors, size), (model.sequence.scores, rows)):
                if model.retriever is not None and length == rows:
                    continue  # as in requests, a large catalogue is never scored whole
                for answer in ask(asked):
                    if answer.shape != (length,) or not np.isfinite(answer).all():
                        raise BundleError(
                            f"{graph}: answers an array {answer.shape}, expected ({length},) "
                            "of finite numbers"
                        )
            yield_cpu()


def replay_golden(model: Model, bundle: Bundle) -> None:
    """Replay the golden requests; items and scores must be the same.

    Other processors sum in another order: scores may differ by a tolerance, and items whose scores
    differ by less may swap ranks.

    Raises:
        BundleError: an answer differs (the message names the first), or a retriever's recall of
            the golden items is too low.
    """
    users, wanted, seen = [], [], []
    for number, golden in enumerate(bundle.golden):
        history, _ = model.ids.indices(golden.history)
        items, _ = model.ids.indices(golden.item_ids)
        with bundle_errors(bundle.folder / files.MODEL, f"golden request {number} fails"):
            if model.retriever is None:
                [scores] = model.sequence.scores([history])
                problem = _compare(golden, scores[items]) or _find_missing(
                    golden, model, scores, history, items
                )
            else:
                # Golden answers come from scoring everything, which would take minutes here.
                [user] = model.sequence.user_vectors([history])
                problem = _compare(golden, model.table[items] @ user)
                users.append(user)
        if problem:
            raise BundleError(f"{bundle.folder}: golden request {number}: {problem}")
        wanted.append(items)
        seen.append(history)
        yield_cpu()
    if model.retriever is not None:
        model.retriever.verify(np.stack(users), wanted, seen)


def _compare(golden: GoldenRequest, scores: FloatArray) -> str | None:
    """How scores differ from the golden ones, as a message; None if they don't."""
    worst = float(np.max(np.abs(scores - np.array(golden.scores, dtype=np.float32))))
    return None if worst <= golden.tolerance else f"scores differ by {worst:.2g}"


def _find_missing(
    golden: GoldenRequest,
    model: Model,
    scores: FloatArray,
    history: IndexArray,
    items: IndexArray,
) -> str | None:
    """A message if golden items are clearly not among the best, else None; changes the scores."""
    own = scores[items]
    mask(scores, history)
    best = top_k(scores, golden.k)
    if len(best) == golden.k and own.min() >= scores[best[-1]] - golden.tolerance:
        return None
    found = [model.ids.id_of(int(index)) for index in best]
    return f"answers {found}, expected {list(golden.item_ids)}"


def _run_sequence(model: Model) -> None:
    """Run the graph at a few shapes before requests come; the checks of a bundle ran more."""
    for length in (1, model.sequence.max_length):
        history = np.ones(length, dtype=np.int32)
        [user] = model.sequence.user_vectors([history])
        if model.retriever is None:
            model.sequence.scores([history, history])
        else:
            model.retriever.best(user, 10, history, None)


def _lengths_of(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    return np.maximum(lengths, np.float32(1e-12))


def warmed_up(model: Model) -> Model:
    """Compare a text with all items, and compute cached values, before requests come."""
    if model.knowledge:
        model.knowledge.similarities(["warm up"])
    if model.events.dislike_weight:
        _ = model.centre
    _ = model.lengths, model.popularity.n_interactions, model.popularity.order
    return model
