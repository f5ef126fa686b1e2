"""An ONNX model's weights kept in half precision: half the file, the same arithmetic.

Each large weight is stored as float16 and cast back to float32 by the graph; a runtime does that
once, when it loads the file. Only the rounding of the weights is lost, nothing is computed in
float16.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 1024  # elements; norms and biases stay as they are, they are small and matter


def store_weights_in_half(model_bytes: bytes) -> bytes:
    """The model with its large float32 weights stored as float16, inputs and outputs unchanged.

    A weight with values beyond float16 stays as it is.
    """
    model = onnx.load_from_string(model_bytes)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < SMALLEST:
            continue
        values = numpy_helper.to_array(weight)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name, stored = weight.name, f"{weight.name}_half"
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())
