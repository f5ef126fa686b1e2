"""Free text compared with items: which texts tell something, and what similarity means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from app.model.inference import TextEncoder
from app.model.knowledge import NOTHING_KNOWN, Knowledge

WORDS = ("[UNK]", "[CLS]", "[SEP]", "?", "red", "green", "blue")
SIZE = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder as real ones are: marks around every text and unknown words have vectors too."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    vectors = np.random.default_rng(1).normal(size=(len(WORDS), SIZE)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["vectors", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["mask_3d"]),
        helper.make_node("Mul", ["rows", "mask_3d"], ["present"]),
        helper.make_node("ReduceSum", ["present", "one"], ["total"], keepdims=0),
        helper.make_node("LpNormalization", ["total"], ["vector"], axis=1, p=2),
    ]
    constants = [
        numpy_helper.from_array(vectors, "vectors"),
        numpy_helper.from_array(np.array([2], np.int64), "two"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["B", SIZE])]
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "encoder.onnx")
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder(folder / "encoder.onnx", folder / "tokenizer.json", SIZE)


@pytest.fixture(scope="module")
def knowledge(encoder: TextEncoder) -> Knowledge:
    """Items 1 to 4, of which nothing is known of the third."""
    vectors = np.zeros((5, SIZE), np.float32)
    vectors[[1, 2, 4]] = encoder.encode(["red", "green", "red blue"])
    return Knowledge(encoder, vectors)


@pytest.mark.parametrize(
    "text", ["", " ", "?", "? ?", "\t", "…", "zxqv", "zxqv qqq", "🦄", "電影", "\u200b", "+ ="]
)
def test_a_text_without_a_known_word_tells_nothing(knowledge: Knowledge, text: str) -> None:
    alone = knowledge.similarities([text])
    assert alone == [None]
    first, nothing, last = knowledge.similarities(["red", text, "green zxqv"])
    assert nothing is None
    assert first is not None
    assert last is not None


def test_similarity_is_a_cosine_in_the_centred_space(
    knowledge: Knowledge, encoder: TextEncoder
) -> None:
    texts = ["red", "blue green ?", "zxqv red", "green"]
    known = [1, 2, 4]
    centre = knowledge.vectors[known].mean(axis=0)
    items = knowledge.vectors[known] - centre
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    for text, found in zip(texts, knowledge.similarities(texts), strict=True):
        [query] = encoder.encode([text]) - centre
        assert found is not None
        assert found[known] == pytest.approx(items @ query / np.linalg.norm(query), abs=1e-5)
        assert found[[0, 3]].tolist() == [NOTHING_KNOWN] * 2
        [alone] = knowledge.similarities([text])
        assert alone == pytest.approx(found, abs=1e-6)


def test_a_text_in_the_very_middle_of_all_items_tells_nothing(encoder: TextEncoder) -> None:
    vectors = np.zeros((3, SIZE), np.float32)
    vectors[1:] = encoder.encode(["red"])
    assert Knowledge(encoder, vectors).similarities(["red"]) == [None]


def test_nothing_known_of_any_item_tells_nothing(encoder: TextEncoder) -> None:
    assert Knowledge(encoder, np.zeros((3, SIZE), np.float32)).similarities(["red"]) == [None]


def test_the_encoder_knows_a_text_by_its_own_words(encoder: TextEncoder) -> None:
    red, unknown, mixed, nothing = encoder.encode(["red", "zxqv", "zxqv red", ""])
    assert np.linalg.norm(red) == pytest.approx(1)
    assert np.linalg.norm(mixed) == pytest.approx(1)
    assert not unknown.any()
    assert not nothing.any()


def test_an_encoder_of_short_texts_is_given_no_longer_ones(
    folder: Path, encoder: TextEncoder, tmp_path: Path
) -> None:
    """Its graph may have no more positions than its tokenizer cuts at."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(3)  # one word between the marks
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    short = TextEncoder(folder / "encoder.onnx", tmp_path / "tokenizer.json", SIZE)
    assert np.array_equal(short.encode(["red green blue"]), encoder.encode(["red"]))
