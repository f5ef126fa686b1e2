"""A tiny but real bundle, made without torch: a small ONNX graph, a text encoder, golden answers.

The model's user vector is the mean of the history's item rows, weighted by 0.8 ** position counted
from the end; scores are its products with the item table. That honours everything the service
relies on: padding is ignored, any length works, the table is an input of the graph.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from model_store.attributes import Attribute, ItemAttributes
from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter
from model_store.event_rules import DEFAULT_EVENTS, EventsInfo
from model_store.files import save_array
from model_store.id_map import IdMap
from model_store.knowledge_texts import TEXT_FILES, KnowledgeSource, TextArrays
from model_store.manifest import EncoderInfo, KnowledgeInfo, ModelInfo
from model_store.repeats import Repeats
from tests.synthetic_reranker import reranker_info, write_reranker

GENRES = ("action", "comedy", "drama", "horror", "romance", "western")
DECAY = 0.8
MAX_LENGTH = 50
SOURCE = KnowledgeSource(model="a language model", prompt="v1", aligned=False)
MADE_ON = date(2026, 1, 2)
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Catalogue:
    """What the bundle is made of, for tests to compute expected answers from."""

    ids: IdMap
    attributes: ItemAttributes
    table: Floats
    knowledge: Floats
    projection: Floats
    texts: list[str]
    popularity: Floats
    histories: dict[str, npt.NDArray[np.int32]]


def make_catalogue(
    n_items: int = 60, n_users: int = 12, size: int = 8, seed: int = 7, history_length: int = 0
) -> Catalogue:
    """Random but fixed: item ids "i1".., users "u1".., one or two genres an item."""
    random = np.random.default_rng(seed)
    ids = IdMap([f"i{n}" for n in range(1, n_items + 1)])
    genres = [
        sorted(random.choice(GENRES, size=random.integers(1, 3), replace=False).tolist())
        for _ in range(n_items)
    ]
    years = [None if n % 9 == 0 else int(random.integers(1980, 2005)) for n in range(n_items)]
    attributes = ItemAttributes(
        [
            Attribute("title", "text", [f"{g[0].title()} {n}" for n, g in enumerate(genres, 1)]),
            Attribute("year", "number", years),
            Attribute("genres", "list", genres),
        ],
        n_items,
    )
    knowledge = np.zeros((n_items + 1, len(GENRES)), np.float32)
    for item_index, of_item in enumerate(genres, start=1):
        knowledge[item_index, [GENRES.index(genre) for genre in of_item]] = 1
    knowledge[1:] /= np.linalg.norm(knowledge[1:], axis=1, keepdims=True)
    projection = random.normal(size=(len(GENRES) + 1, size)).astype(np.float32)
    table = random.normal(size=(n_items + 1, size)).astype(np.float32)
    table[0] = 0
    popularity = random.integers(0, 40, n_items + 1).astype(np.float32)
    popularity[0] = 0
    # Every seventh item has none; not all of the others are ASCII.
    texts = [
        "" if n % 7 == 0 else f"This film appeals to people who enjoy {' and '.join(g)} — № {n}."
        for n, g in enumerate(genres, start=1)
    ]
    lengths = [history_length or int(random.integers(1, n_items // 3)) for _ in range(n_users)]
    histories = {
        f"u{n}": random.choice(np.arange(1, n_items + 1), length, replace=False).astype(np.int32)
        for n, length in enumerate(lengths, start=1)
    }
    return Catalogue(ids, attributes, table, knowledge, projection, texts, popularity, histories)


def user_vector(table: Floats, history: npt.NDArray[np.int32]) -> Floats:
    """The graph's user vector, in numpy: [D]."""
    last = history[-MAX_LENGTH:]
    weights = DECAY ** np.arange(len(last) - 1, -1, -1)
    return ((table[last] * weights[:, None]).sum(axis=0) / weights.sum()).astype(np.float32)


def expected_scores(table: Floats, history: npt.NDArray[np.int32]) -> Floats:
    """The graph's scores, in numpy: [N+1]."""
    return (table @ user_vector(table, history)).astype(np.float32)


def make_bundle(
    folder: Path,
    *,
    version: str = "made-1",
    catalogue: Catalogue | None = None,
    with_encoder: bool = True,
    with_texts: bool = True,
    with_wrong_golden: bool = False,
    with_reranker: bool = False,
    configuration: dict[str, object] | None = None,
    report: dict[str, object] | None = None,
    repeats: Repeats = "keep",
    events: EventsInfo = DEFAULT_EVENTS,
    source: KnowledgeSource = SOURCE,
    graph: onnx.ModelProto | None = None,
) -> Bundle:
    """Write the bundle into `folder` (not there yet).

    `graph` is its sequence graph, whose scores must be those of `sequence_graph`.
    `with_texts` adds what a language model wrote. `with_wrong_golden` makes golden answers that the
    model does not give: a bundle to be rejected.
    """
    made = catalogue or make_catalogue()
    with BundleWriter(folder) as writer:
        writer.write("model.onnx", lambda path: onnx.save(graph or sequence_graph(), path))
        writer.write("item_table.npy", lambda path: save_array(path, made.table))
        writer.write("item_ids.json", made.ids.save)
        writer.write("attributes.json", made.attributes.save)
        writer.write("popularity.npy", lambda path: save_array(path, made.popularity))
        golden = _golden(made, swap=with_wrong_golden)
        writer.write("golden.json", lambda path: _save_json(path, golden))
        writer.write("report.json", lambda path: _save_json(path, report or {}))
        write_users(writer, made)
        if with_encoder:
            _write_encoder(writer, made)
        if with_texts:
            arrays = TextArrays.of(made.texts, [MADE_ON] * len(made.texts))
            writer.write(TEXT_FILES[0], lambda path: arrays.save(path.parent))
        if with_reranker:
            write_reranker(writer)
            writer.write("user_vectors.npy", lambda path: save_array(path, _user_vectors(made)))
        size = made.table.shape[1]
        return writer.finish(
            version=version,
            created_at="2026-01-01T00:00:00Z",
            model=ModelInfo.of_sequence_graph("made", size, MAX_LENGTH).model_copy(
                update={"repeats": repeats}
            ),
            encoder=EncoderInfo(name="made", vector_size=len(GENRES), has_graph=True)
            if with_encoder
            else None,
            knowledge=KnowledgeInfo(source=source, n_texts=sum(map(bool, made.texts)))
            if with_texts
            else None,
            reranker=reranker_info([len(h) for h in made.histories.values()])
            if with_reranker
            else None,
            n_items=len(made.ids),
            n_users=len(made.histories),
            metrics={"ndcg_at_10": 0.1},
            events=events,
            inputs={},
            configuration=configuration or {},
            code_revision="made",
        )


def _save_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def _golden(made: Catalogue, *, swap: bool) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = []
    for history in list(made.histories.values())[:4]:
        scores = expected_scores(made.table, history)
        scores[0] = scores[history] = -np.inf
        n_best = min(10, int(np.isfinite(scores).sum()))
        best = np.argsort(-scores, kind="stable")[:n_best]
        answered = best[::-1] if swap else best
        entries.append(
            {
                "history": [made.ids.id_of(int(i)) for i in history],
                "k": n_best,
                "item_ids": [made.ids.id_of(int(i)) for i in answered],
                "scores": [float(scores[i]) for i in best],
            }
        )
    return entries


def write_users(writer: BundleWriter, made: Catalogue) -> None:
    """Ids and histories of all users."""
    lengths = [len(history) for history in made.histories.values()]
    items = np.concatenate(list(made.histories.values()))
    times = np.concatenate([1e9 + 60.0 * np.arange(length) for length in lengths])
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    writer.write("user_ids.json", lambda path: _save_json(path, list(made.histories)))
    writer.write("user_offsets.npy", lambda path: save_array(path, offsets.astype(np.int64)))
    writer.write("user_items.npy", lambda path: save_array(path, items))
    writer.write("user_timestamps.npy", lambda path: save_array(path, times))


def _user_vectors(made: Catalogue) -> Floats:
    """Unit rows, in the order of the users."""
    vectors = np.stack([user_vector(made.table, one) for one in made.histories.values()])
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _write_encoder(writer: BundleWriter, made: Catalogue) -> None:
    writer.write("knowledge_vectors.npy", lambda path: save_array(path, made.knowledge))
    writer.write("fresh_projection.npy", lambda path: save_array(path, made.projection))
    writer.write("text_encoder.onnx", lambda path: onnx.save(_encoder_graph(), path))
    vocabulary = {"[UNK]": 0, **{genre: n for n, genre in enumerate(GENRES, start=1)}}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    writer.write("tokenizer.json", lambda path: tokenizer.save(str(path)))


def sequence_graph() -> onnx.ModelProto:
    """From history [B, L] and item_table [N+1, D] to scores [B, N+1] and user [B, D]."""

    def constant(name: str, value: object, dtype: type) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, dtype=dtype), name)

    nodes = [
        helper.make_node("Gather", ["item_table", "history"], ["rows"], axis=0),
        helper.make_node("Greater", ["history", "zero"], ["present"]),
        helper.make_node("Cast", ["present"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Shape", ["history"], ["length"], start=1, end=2),
        helper.make_node("Squeeze", ["length"], ["length_scalar"]),
        helper.make_node("Sub", ["length_scalar", "one"], ["last"]),
        helper.make_node("Range", ["last", "minus_one", "minus_one"], ["positions"]),
        helper.make_node("Cast", ["positions"], ["positions_float"], to=TensorProto.FLOAT),
        helper.make_node("Pow", ["decay", "positions_float"], ["decayed"]),
        helper.make_node("Mul", ["mask", "decayed"], ["weights"]),
        helper.make_node("Unsqueeze", ["weights", "two"], ["weights_3d"]),
        helper.make_node("Mul", ["rows", "weights_3d"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axis_1"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "axis_1"], ["weight"], keepdims=1),
        helper.make_node("Max", ["weight", "epsilon"], ["weight_safe"]),
        helper.make_node("Div", ["total", "weight_safe"], ["user"]),
        helper.make_node("Gemm", ["user", "item_table"], ["scores"], transB=1),
    ]
    constants = [
        constant("zero", 0, np.int64),
        constant("one", 1, np.int64),
        constant("minus_one", -1, np.int64),
        constant("decay", DECAY, np.float32),
        constant("two", [2], np.int64),
        constant("axis_1", [1], np.int64),
        constant("epsilon", 1e-9, np.float32),
    ]
    inputs = [
        helper.make_tensor_value_info("history", TensorProto.INT64, ["B", "L"]),
        helper.make_tensor_value_info("item_table", TensorProto.FLOAT, ["N1", "D"]),
    ]
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["B", "N1"]),
        helper.make_tensor_value_info("user", TensorProto.FLOAT, ["B", "D"]),
    ]
    return _checked(helper.make_graph(nodes, "made", inputs, outputs, constants))


def _encoder_graph() -> onnx.ModelProto:
    """Mean of one-hot genres over the tokens, of unit length; unknown words count for nothing."""
    embedding = np.zeros((len(GENRES) + 1, len(GENRES)), np.float32)
    embedding[1:] = np.eye(len(GENRES), dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["embedding", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["mask_3d"]),
        helper.make_node("Mul", ["rows", "mask_3d"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis_1"], ["total"], keepdims=0),
        helper.make_node("LpNormalization", ["total"], ["vector"], axis=1, p=2),
    ]
    constants = [
        numpy_helper.from_array(embedding, "embedding"),
        numpy_helper.from_array(np.array([2], np.int64), "two"),
        numpy_helper.from_array(np.array([1], np.int64), "axis_1"),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["B", len(GENRES)])]
    return _checked(helper.make_graph(nodes, "encoder", inputs, outputs, constants))


def _checked(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
