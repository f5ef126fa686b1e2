"""Graphs and tokenizers that don't fit the bundle, or each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.damage.documents import change_document
from tests.damage.kinds import Change, Damage


def damaged_sequence_graphs() -> Iterator[Damage]:
    name = "model.onnx"
    for old, new in (("scores", "points"), ("user", "person"), ("history", "past")):
        yield Damage(f"{name}: {old} is called {new}", _graph(name, partial(_rename, old, new)))
    yield Damage(f"{name}: table of doubles", _graph(name, partial(_retype, 1, TensorProto.DOUBLE)))
    yield Damage(f"{name}: history of int32", _graph(name, partial(_retype, 0, TensorProto.INT32)))
    yield Damage(f"{name}: for one request at a time", _graph(name, _fix_batch))
    yield Damage(f"{name}: another input", _graph(name, _add_input))
    yield Damage(f"{name}: weights elsewhere", partial(_move_weights, name, "decay"))
    for value in (np.nan, np.inf, -1.0, 0.5):
        yield Damage(
            f"{name}: weights of {value}", _graph(name, partial(_set_weight, "decay", value))
        )
    yield Damage(f"{name}: fails for long histories", _graph(name, _limit_length))
    yield Damage(f"{name}: is the text encoder", _swap("model.onnx", "text_encoder.onnx"))


def damaged_text_encoders() -> Iterator[Damage]:
    name = "text_encoder.onnx"
    for old, new in (("vector", "vectors"), ("input_ids", "ids"), ("attention_mask", "mask_")):
        yield Damage(f"{name}: {old} is called {new}", _graph(name, partial(_rename, old, new)))
    yield Damage(f"{name}: of another size", _graph(name, _narrow_embedding))
    yield Damage(f"{name}: fewer tokens than the tokenizer", _graph(name, _shorten_embedding))
    yield Damage(f"{name}: weights elsewhere", partial(_move_weights, name, "embedding"))
    for value in (np.nan, np.inf):
        yield Damage(
            f"{name}: weights of {value}", _graph(name, partial(_set_weight, "embedding", value))
        )
    for what, change in {
        "a larger vocabulary": lambda d: d["model"]["vocab"].update(extra=99),
        "an empty vocabulary": lambda d: d["model"].update(vocab={}),
        "no unknown token": lambda d: d["model"]["vocab"].pop("[UNK]"),
        "added tokens beyond the graph": lambda d: d["added_tokens"].append(
            {
                **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
                "id": 500,
                "content": "<extra>",
                "special": True,
            }
        ),
    }.items():
        yield Damage(f"tokenizer.json: {what}", change_document("tokenizer.json", change))


def _swap(name: str, other: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes((folder / other).read_bytes())

    return apply


def _graph(name: str, change: Callable[[onnx.GraphProto], object]) -> Change:
    def apply(folder: Path) -> None:
        model = onnx.load(folder / name)
        change(model.graph)
        onnx.save(model, folder / name)

    return apply


def _rename(old: str, new: str, graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output):
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _retype(place: int, dtype: int, graph: onnx.GraphProto) -> None:
    """An input of another type, turned into the right one inside."""
    value = graph.input[place]
    right, outside = value.type.tensor_type.elem_type, value.name
    _rename(outside, f"{outside}_right", graph)
    value.name, value.type.tensor_type.elem_type = outside, dtype
    cast = helper.make_node("Cast", [outside], [f"{outside}_right"], to=right)
    graph.node.insert(0, cast)


def _fix_batch(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _add_input(graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("mood", TensorProto.FLOAT, ["B"]))


def _weight(name: str, graph: onnx.GraphProto) -> onnx.TensorProto:
    [tensor] = [one for one in graph.initializer if one.name == name]
    return tensor


def _set_weight(name: str, value: float, graph: onnx.GraphProto) -> None:
    tensor = _weight(name, graph)
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[-1] = value
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def _move_weights(name: str, weight: str, folder: Path) -> None:
    """Weights in a file that the manifest doesn't name, as large models have them."""
    model = onnx.load(folder / name)
    tensor = _weight(weight, model.graph)
    (folder / "weights.bin").write_bytes(numpy_helper.to_array(tensor).tobytes())
    for field in ("raw_data", "float_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    onnx.save(model, folder / name)


def _limit_length(graph: onnx.GraphProto) -> None:
    """Positions are looked up in a table of ten, as learnt ones are."""
    table = numpy_helper.from_array(np.zeros((10, 1), np.float32), "position_table")
    graph.initializer.append(table)
    for node in graph.node:
        if node.op_type == "Cast" and node.output[0] == "positions_float":
            node.output[0] = "positions_cast"
    look_up = helper.make_node("Gather", ["position_table", "positions"], ["looked_up"], axis=0)
    squeeze = helper.make_node("Squeeze", ["looked_up", "axis_1"], ["nothing"])
    add = helper.make_node("Add", ["positions_cast", "nothing"], ["positions_float"])
    place = next(i for i, node in enumerate(graph.node) if "positions_cast" in node.output)
    for node in (add, squeeze, look_up):
        graph.node.insert(place + 1, node)


def _narrow_embedding(graph: onnx.GraphProto) -> None:
    tensor = _weight("embedding", graph)
    array = numpy_helper.to_array(tensor)[:, :-1]
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), "embedding"))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = array.shape[1]


def _shorten_embedding(graph: onnx.GraphProto) -> None:
    tensor = _weight("embedding", graph)
    array = numpy_helper.to_array(tensor)[:-1]
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), "embedding"))
