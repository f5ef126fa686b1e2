"""A tiny but real reranker, made without torch: an ONNX graph that "prefers" genres.

It has the inputs and the output of an exported language model. The score of a label is the weight
of the first word of its candidate's title, which in the synthetic catalogue is a genre; the
expected rating rises with the summed weights of the words that the place of the answer attends to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from model_store.aggregation import Weighting
from model_store.bundle_writer import BundleWriter
from model_store.rerank_prompt import LABELS, RATINGS, PromptLayout
from model_store.reranker import LabelGraph, RerankerInfo

# By first word of a title; other words weigh nothing.
WEIGHTS = {
    "Western": 6.0,
    "Romance": 5.0,
    "Horror": 4.0,
    "Drama": 3.0,
    "Comedy": 2.0,
    "Action": 1.0,
}
VOCABULARY = ["[UNK]", *LABELS, *RATINGS, ".", ":", *WEIGHTS]
LAYOUT = PromptLayout(n_candidates=6, n_history=4, n_similar=2)


def reranker_info(counts: Sequence[int], *, alpha_1: float = 0.9) -> RerankerInfo:
    """A manifest's description of it, for users with so many interactions."""
    return RerankerInfo(
        name="synthetic",
        layout=LAYOUT,
        weighting=Weighting.of_users(counts, alpha_1=alpha_1, alpha_2=0.1),
        graph=LabelGraph(
            precision="float32",
            label_tokens=tuple(VOCABULARY.index(label) for label in LABELS),
            rating_tokens=tuple(VOCABULARY.index(rating) for rating in RATINGS),
            max_tokens=512,
            rank_agreement=1.0,
        ),
    )


def expected_label_scores(titles: Sequence[str]) -> list[float]:
    """The scores of candidates with such titles, in their order."""
    return [WEIGHTS.get(title.split()[0], 0.0) for title in titles]


def write_reranker(writer: BundleWriter) -> None:
    """Add graph and tokenizer to a bundle."""
    writer.write("reranker.onnx", lambda path: onnx.save(reranker_graph(), path))
    writer.write("reranker_tokenizer.json", lambda path: reranker_tokenizer().save(str(path)))


def reranker_tokenizer() -> Tokenizer:
    """Words and punctuation are tokens."""
    vocabulary = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def reranker_graph() -> onnx.ModelProto:
    """The graph; see `model_store.reranker.LabelGraph`."""
    weights = np.array([WEIGHTS.get(word, 0.0) for word in VOCABULARY], np.float32)
    labels = np.array([VOCABULARY.index(label) for label in LABELS], np.int64)
    ratings = np.arange(1, len(RATINGS) + 1, dtype=np.float32) / 10
    nodes = [
        helper.make_node("Gather", ["weights", "tokens"], ["weight"]),
        # A label is followed by a full stop and the title's first word.
        helper.make_node("Pad", ["weight", "two_behind"], ["padded"]),
        helper.make_node("Slice", ["padded", "two", "end", "axis_1"], ["weight_after"]),
        helper.make_node("Unsqueeze", ["tokens", "axis_2"], ["tokens_3d"]),
        helper.make_node("Equal", ["tokens_3d", "labels"], ["is_label"]),
        helper.make_node("Cast", ["is_label"], ["is_label_float"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight_after", "axis_2"], ["weight_after_3d"]),
        helper.make_node("Mul", ["is_label_float", "weight_after_3d"], ["of_label"]),
        helper.make_node("ReduceSum", ["of_label", "axis_1"], ["label_scores"], keepdims=1),
        # The rows of the mask at the places where answers begin.
        helper.make_node("Shape", ["tokens"], ["length"], start=1, end=2),
        helper.make_node("Squeeze", ["length"], ["length_scalar"]),
        helper.make_node("Range", ["zero", "length_scalar", "one"], ["places"]),
        helper.make_node("Unsqueeze", ["read_at", "axis_2"], ["read_at_3d"]),
        helper.make_node("Equal", ["read_at_3d", "places"], ["is_read"]),
        helper.make_node("Cast", ["is_read"], ["is_read_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["mask"], ["mask_float"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["is_read_float", "mask_float"], ["attends"]),
        helper.make_node("Unsqueeze", ["weight", "axis_2"], ["weight_3d"]),
        helper.make_node("MatMul", ["attends", "weight_3d"], ["attended"]),
        helper.make_node("Mul", ["attended", "ratings"], ["rating_scores"]),
        helper.make_node("Mul", ["attended", "nothing"], ["no_scores"]),
        helper.make_node("Cast", ["positions"], ["positions_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["positions_float", "axis_1"], ["position_sum"], keepdims=1),
        helper.make_node("Unsqueeze", ["position_sum", "axis_2"], ["position_sum_3d"]),
        helper.make_node("Mul", ["position_sum_3d", "nothing"], ["no_position"]),
        helper.make_node("Add", ["label_scores", "no_scores"], ["scores_of_labels"]),
        helper.make_node("Add", ["scores_of_labels", "no_position"], ["scores_at_places"]),
        helper.make_node("Concat", ["scores_at_places", "rating_scores"], ["logits"], axis=2),
    ]
    constants = {
        "weights": weights,
        "labels": labels,
        "ratings": ratings,
        "nothing": np.array(0, np.float32),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "two": np.array([2], np.int64),
        "end": np.array([np.iinfo(np.int64).max], np.int64),
        "axis_1": np.array([1], np.int64),
        "axis_2": np.array([2], np.int64),
        "two_behind": np.array([0, 0, 0, 2], np.int64),
    }
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", "L"]),
        helper.make_tensor_value_info("positions", TensorProto.INT64, ["B", "L"]),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, ["B", "L", "L"]),
        helper.make_tensor_value_info("read_at", TensorProto.INT64, ["B", "M"]),
    ]
    n_rows = len(LABELS) + len(RATINGS)
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "M", n_rows])]
    graph = helper.make_graph(
        nodes,
        "synthetic_reranker",
        inputs,
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
