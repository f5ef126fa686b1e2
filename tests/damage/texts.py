"""What a language model wrote about items: offsets that lead nowhere, bytes that are no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.knowledge_texts import DAYS, MAX_TEXT_BYTES, OFFSETS, TEXT, TextArrays
from tests.damage.documents import change_document
from tests.damage.kinds import Change, Damage, content_is

Array = npt.NDArray[Any]


def damaged_knowledge_texts() -> Iterator[Damage]:
    for name, changes in ARRAY_CHANGES.items():
        for what, change in changes.items():
            yield Damage(f"{name} {what}", _array(name, change))
        yield Damage(f"{name} of float64", _array(name, lambda a: a.astype(np.float64)))
        yield Damage(f"{name} of another width", _array(name, lambda a: a.astype(np.int16)))
        yield Damage(f"{name} is no array", content_is(name, b"nonsense"))
        yield Damage(f"{name} missing", lambda folder, name=name: (folder / name).unlink())  # type: ignore[misc]
        yield Damage(
            f"manifest: without {name}",
            change_document("manifest.json", lambda d, name=name: d["files"].pop(name)),  # type: ignore[misc]
        )
    yield Damage(f"{TEXT} changed later", _array(TEXT, _with(9, ord("x"))), is_built_so=False)
    yield Damage("a text beyond the limit", _write_long_text)
    for what, changes in {
        "as null": None,
        "of nothing": {},
        "with a text more": {"n_texts": 53},
        "without a text": {"n_texts": 0},
        "without source": {"source": None},
        "of nobody": {"source": {"model": "", "prompt": "v1", "aligned": False}},
        "perhaps aligned": {"source": {"model": "m", "prompt": "v1", "aligned": "perhaps"}},
    }.items():
        yield Damage(f"manifest: knowledge {what}", _manifest(changes))


def _with(place: int, value: int) -> Callable[[Array], Array]:
    def change(array: Array) -> Array:
        array[place] = value
        return array

    return change


ARRAY_CHANGES: dict[str, dict[str, Callable[[Array], Array]]] = {
    TEXT: {
        "with a byte that is not UTF-8": _with(9, 0xFF),
        "cut": lambda array: array[:-1],
        "longer": lambda array: np.append(array, array[:1]),
        "empty": lambda array: array[:0],
        "with a dimension more": lambda array: array[:, None],
    },
    OFFSETS: {
        "falling": lambda array: array[::-1].copy(),
        "not from 0": _with(0, 1),
        "with text for padding": _with(1, 1),
        "negative": _with(5, -1),
        "beyond the text": _with(-1, 10**9),
        "inside a character": lambda array: array - 4 * (np.arange(len(array)) == 3),
        "with a row less": lambda array: array[:-1],
    },
    DAYS: {
        "negative": _with(3, -1),
        "after the last year": _with(3, 2**31 - 1),
        "with a row more": lambda array: np.append(array, array[:1]),
    },
}


def _array(name: str, change: Callable[[Array], Array]) -> Change:
    def apply(folder: Path) -> None:
        np.save(folder / name, change(np.load(folder / name)))

    return apply


def _write_long_text(folder: Path) -> None:
    arrays = TextArrays.open(folder)
    text = np.full(MAX_TEXT_BYTES + 1, ord("a"), dtype=np.uint8)
    offsets = np.zeros_like(arrays.offsets)
    offsets[2:] = len(text)
    TextArrays(text, offsets, np.array(arrays.days)).save(folder)
    change_document("manifest.json", lambda d: d["knowledge"].update(n_texts=1))(folder)


def _manifest(changes: dict[str, Any] | None) -> Change:
    def change(document: dict[str, Any]) -> None:
        document["knowledge"] = changes and document["knowledge"] | changes

    return change_document("manifest.json", change)
