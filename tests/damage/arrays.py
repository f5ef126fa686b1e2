"""Arrays of another type, shape or order, or with numbers that nothing can be done with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.damage.kinds import Change, Damage, content_is

Array = npt.NDArray[Any]

ARRAYS = (
    *("item_table.npy", "popularity.npy", "knowledge_vectors.npy", "fresh_projection.npy"),
    "user_vectors.npy",
)
DTYPES = ("float64", "float16", "int64", "bool", "complex64", ">f4", "<U8", "datetime64[s]")


def damaged_arrays() -> Iterator[Damage]:
    for name in ARRAYS:
        for dtype in DTYPES:
            yield Damage(f"{name} of {dtype}", _array(name, partial(_cast, dtype=dtype)))
        for value in (np.nan, np.inf, -np.inf, 3e38, -3e38):
            yield Damage(f"{name} with {value}", _array(name, partial(_with_value, value=value)))
        for what, change in ARRAY_CHANGES.items():
            yield Damage(f"{name} {what}", _array(name, change))
        for what, content in ARRAY_FILES.items():
            yield Damage(f"{name} is {what}", content_is(name, content))
    for name in (
        "item_table.npy",
        "knowledge_vectors.npy",
        "user_vectors.npy",
        "fresh_projection.npy",
    ):
        yield Damage(f"{name} in Fortran order", _array(name, np.asfortranarray))
    for name in ("item_table.npy", "knowledge_vectors.npy"):
        yield Damage(f"{name} with a padding row", _array(name, partial(_with_value, row=0)))
    yield Damage("knowledge_vectors.npy too long", _array("knowledge_vectors.npy", lambda a: a * 3))
    yield Damage("user_vectors.npy too long", _array("user_vectors.npy", lambda a: a * 3))
    yield Damage("popularity.npy negative", _array("popularity.npy", lambda a: a - 100))


ARRAY_CHANGES: dict[str, Callable[[Array], Array]] = {
    "with a row less": lambda array: array[:-1],
    "with a row more": lambda array: np.concatenate([array, array[-1:]]),
    "with a dimension more": lambda array: array[..., None],
    "as one number": lambda array: np.float32(array.sum()),  # type: ignore[dict-item,return-value]
    "without rows": lambda array: array[:0],
    "as records": lambda array: np.zeros(len(array), dtype=[("a", "f4"), ("b", "f4")]),
}
ARRAY_FILES = {
    "empty": b"",
    "no array": b"nonsense",
    "a header": b"\x93NUMPY\x01\x00\x46\x00"
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (9, 9)}" + b" " * 12,
    "a zip": b"PK\x05\x06" + bytes(18),
}


def _array(name: str, change: Callable[[Array], Array]) -> Change:
    def apply(folder: Path) -> None:
        np.save(folder / name, change(np.load(folder / name)))

    return apply


def _cast(array: Array, dtype: str) -> Array:
    return array.astype("int64").astype(dtype) if "datetime" in dtype else array.astype(dtype)


def _with_value(array: Array, value: float = 0.5, row: int = 5) -> Array:
    array[row] = value
    return array
