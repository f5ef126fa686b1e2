"""The experiences of one update as a safetensors file: nothing in it is executable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model_store.errors import InputError
from offline.alignment.experience import Experience, SampledText

_Types = dict[str, type[np.generic]]

_OF_BATCH: _Types = {"number": np.int64, "waited_s": np.float64, "worked_s": np.float64}
_OF_EXPERIENCE: _Types = {
    "target": np.int64,
    "group": np.int64,
    "snapshot": np.int64,
    "log_with": np.float64,
    "log_without": np.float64,
}
# Lists of several lengths: all values one after the other, and how many belong to each.
_LISTS_OF_EXPERIENCE: _Types = {"history": np.int32, "texts": np.int64}
_LISTS_OF_TEXT: _Types = {
    "text": np.uint8,
    "tokens": np.int32,
    "log_sampled": np.float32,
    "log_original": np.float32,
}
_N = "/n"

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Batch:
    """What the generator made for one update.

    Attributes:
        number: of the update, from 1.
        experiences: several may hold the same text, as the same object.
        waited_s: time since the generator's batch before in which there was nothing to make.
        worked_s: time in which this batch was made, and weights were loaded for it.
    """

    number: int
    experiences: tuple[Experience, ...]
    waited_s: float
    worked_s: float


def encode(batch: Batch) -> bytes:
    """A batch as the content of a file."""
    texts = list({id(text): text for each in batch.experiences for text in each.texts}.values())
    row_of = {id(text): row for row, text in enumerate(texts)}
    arrays: Arrays = {
        name: np.array([getattr(batch, name)], dtype) for name, dtype in _OF_BATCH.items()
    }
    for name, dtype in _OF_EXPERIENCE.items():
        arrays[name] = np.array([getattr(each, name) for each in batch.experiences], dtype)
    arrays["item"] = np.array([text.item for text in texts], np.int64)
    lists: dict[str, list[Any]] = {
        "history": [each.history for each in batch.experiences],
        "texts": [[row_of[id(text)] for text in each.texts] for each in batch.experiences],
        "text": [np.frombuffer(text.text.encode(), np.uint8) for text in texts],
        "tokens": [text.tokens for text in texts],
        "log_sampled": [text.log_sampled for text in texts],
        "log_original": [text.log_original for text in texts],
    }
    for name, dtype in {**_LISTS_OF_EXPERIENCE, **_LISTS_OF_TEXT}.items():
        parts = [np.asarray(part, dtype) for part in lists[name]]
        arrays[name] = np.concatenate([np.empty(0, dtype), *parts])
        arrays[name + _N] = np.array([len(part) for part in parts], np.int64)
    return save(arrays)


def decode(content: bytes) -> Batch:
    """A batch from the content of a file.

    Raises:
        InputError: it is damaged, or that of another kind of file.
    """
    try:
        # Copies: torch takes no arrays that can't be written to.
        arrays = {name: array.copy() for name, array in load(content).items()}
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"not readable ({error})") from None
    _check_names(arrays)
    try:
        texts = _texts(arrays)
        return Batch(
            number=int(arrays["number"].item()),
            experiences=_experiences(arrays, texts),
            waited_s=float(arrays["waited_s"].item()),
            worked_s=float(arrays["worked_s"].item()),
        )
    except (ValueError, IndexError) as error:  # lengths or indices that don't fit
        raise InputError(f"its parts don't fit together ({error})") from None


def _check_names(arrays: Arrays) -> None:
    lists = {**_LISTS_OF_EXPERIENCE, **_LISTS_OF_TEXT}
    expected: _Types = {
        **_OF_BATCH,
        **_OF_EXPERIENCE,
        "item": np.int64,
        **lists,
        **{name + _N: np.int64 for name in lists},
    }
    if arrays.keys() != expected.keys():
        raise InputError("no batch of experiences (its tensors have other names)")
    for name, dtype in expected.items():
        if arrays[name].dtype != dtype or arrays[name].ndim != 1:
            raise InputError(f"no batch of experiences ({name} is {arrays[name].dtype})")


def _texts(arrays: Arrays) -> list[SampledText]:
    columns = [_lists(arrays, name) for name in _LISTS_OF_TEXT]
    return [
        SampledText(int(item), text.tobytes().decode(), tokens, log_sampled, log_original)
        for item, text, tokens, log_sampled, log_original in zip(
            arrays["item"], *columns, strict=True
        )
    ]


def _experiences(arrays: Arrays, texts: Sequence[SampledText]) -> tuple[Experience, ...]:
    if (arrays["texts"] < 0).any():
        raise IndexError("a text below the first")
    columns = [arrays[name].tolist() for name in _OF_EXPERIENCE]
    return tuple(
        Experience(
            history=history,
            target=target,
            texts=tuple(texts[row] for row in rows),
            log_with=log_with,
            log_without=log_without,
            group=group,
            snapshot=snapshot,
        )
        for history, rows, target, group, snapshot, log_with, log_without in zip(
            *(_lists(arrays, name) for name in _LISTS_OF_EXPERIENCE), *columns, strict=True
        )
    )


def _lists(arrays: Arrays, name: str) -> list[npt.NDArray[Any]]:
    values, lengths = arrays[name], arrays[name + _N]
    if lengths.sum() != len(values) or (lengths < 0).any():
        raise ValueError(f"{len(values)} values of {name}, {lengths.sum()} expected")
    return np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []
