"""Checks an ONNX file without running it: it must hold all its weights, and only usable ones.

A graph may name other files for its weights. Those would be neither in the manifest nor hashed,
so such a graph is not loaded at all. The file is walked in protobuf's wire format: the package
`onnx` would copy every weight, and the service does without it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.errors import BundleError

# Of each message of onnx.proto, the fields that hold further messages with tensors in them.
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
_GRAPH = 7
_DATA_TYPE, _FLOATS, _NAME, _RAW, _DOUBLES, _EXTERNAL, _LOCATION = 2, 4, 8, 9, 10, 13, 14
_FLOAT_TYPES = {1: "<f4", 10: "<f2", 11: "<f8"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Value = int | memoryview


def check_graph_file(path: Path) -> None:
    """Check that a graph holds all of its weights and that none is NaN or wrongly infinite.

    Attention masks may hold infinities, with nothing else but zeros.

    Raises:
        BundleError: it is no ONNX file, has weights elsewhere, or has unusable ones.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise BundleError(f"{path}: not a usable graph (the file is empty)")
        # Unmapped when the last view of it is gone.
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        if not any(number == _GRAPH for number, _ in _fields(content)):
            raise ValueError("it holds no graph")
        problem = next(filter(None, map(_find_problem, _tensors(content, "model"))), None)
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path}: not a usable graph ({error})") from error
    if problem:
        raise BundleError(f"{path}: {problem}")


def _tensors(message: memoryview, kind: str) -> Iterator[memoryview]:
    parts = _PARTS[kind]
    for number, value in _fields(message):
        part = parts.get(number)
        if part is None or isinstance(value, int):
            continue
        if part == "tensor":
            yield value
        else:
            yield from _tensors(value, part)


def _find_problem(tensor: memoryview) -> str | None:
    """The fault of a tensor, None if it has none."""
    data_type, name, is_external = 0, "?", False
    values: list[npt.NDArray[np.floating]] = []
    raw: memoryview | None = None
    for number, value in _fields(tensor):
        if number == _DATA_TYPE and isinstance(value, int):
            data_type = value
        elif number == _EXTERNAL or (number == _LOCATION and value == 1):
            is_external = True
        elif isinstance(value, int):
            continue
        elif number == _NAME:
            name = bytes(value).decode("utf-8", "replace")
        elif number == _RAW:
            raw = value
        elif number in (_FLOATS, _DOUBLES):
            values.append(np.frombuffer(value, "<f4" if number == _FLOATS else "<f8"))
    if is_external:
        return f"the weights {name!r} are in another file; a bundle's graph holds all of its own"
    if raw is not None and data_type in _FLOAT_TYPES:
        values.append(np.frombuffer(raw, _FLOAT_TYPES[data_type]))
    return None if all(map(_is_usable, values)) else f"the weights {name!r} hold NaN or infinity"


def _is_usable(values: npt.NDArray[np.floating]) -> bool:
    finite = np.isfinite(values)
    if finite.all():
        return True
    return not np.isnan(values).any() and not values[finite].any()


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Each field of a protobuf message: its number, and its value as an integer or its bytes.

    Raises:
        ValueError, IndexError: it is no such message.
    """
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if not number:
            raise ValueError("it is no ONNX file")
        if wire_type == _VARINT:
            value, position = _read_varint(message, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, position = _read_varint(message, position)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError("it is no ONNX file")
        if position + size > len(message):
            raise ValueError("it ends too early")
        yield number, message[position : position + size]
        position += size


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    if message[position] < 0x80:  # as nearly all are
        return message[position], position + 1
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("it is no ONNX file")
