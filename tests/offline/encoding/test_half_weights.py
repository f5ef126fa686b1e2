import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from offline.encoding.half_weights import store_weights_in_half


def make_model(weight: np.ndarray, bias: np.ndarray) -> bytes:
    """y = x @ weight + bias."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["y"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", weight.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", weight.shape[1]])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def run(model: bytes, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": x})[0])


def test_large_weights_take_half_the_bytes_and_give_nearly_the_same() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((100, 200)).astype(np.float32)
    bias = rng.standard_normal(200).astype(np.float32)
    x = rng.standard_normal((3, 100)).astype(np.float32)
    model = make_model(weight, bias)
    halved = store_weights_in_half(model)
    assert len(halved) < 0.55 * len(model)
    assert (
        np.abs(run(halved, x) - (x @ weight.astype(np.float16).astype(np.float32) + bias)).max()
        < 1e-4
    )
    assert 0 < np.abs(run(halved, x) - run(model, x)).max() < 0.05


def test_small_weights_stay_exact() -> None:
    weight = np.full((10, 10), 1 / 3, np.float32)
    model = make_model(weight, np.zeros(10, np.float32))
    x = np.ones((1, 10), np.float32)
    assert np.array_equal(run(store_weights_in_half(model), x), run(model, x))


def test_weights_beyond_half_precision_stay_as_they_are() -> None:
    weight = np.full((100, 100), 1e6, np.float32)
    halved = onnx.load_from_string(
        store_weights_in_half(make_model(weight, np.zeros(100, np.float32)))
    )
    assert {w.data_type for w in halved.graph.initializer} == {TensorProto.FLOAT}
