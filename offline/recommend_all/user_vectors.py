"""User vectors of many histories, by the graph that serves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from model_store.eight_bits import exact_in_8_bits
from model_store.reading import bundle_errors
from offline.data.histories import Histories, pad_left

Vectors = npt.NDArray[np.float32]

_HISTORY, _ITEM_TABLE, _USER = "history", "item_table", "user"
# Positions of a call: enough to make the call's own cost small, few enough to stay in the caches.
_POSITIONS_AT_ONCE = 1_024
_MAX_PADDED_SHARE = 0.05


class UserNetwork:
    """A bundle's graph in onnxruntime, on one CPU thread.

    Args:
        graph: the file.
        table: float32 [N+1, D]; a memory map will do.
        max_length: longer histories are cut to their last max_length items.

    Raises:
        BundleError: the graph can't be loaded.
    """

    def __init__(self, graph: Path, table: Vectors, max_length: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        for name, value in exact_in_8_bits().items():
            options.add_session_config_entry(name, value)
        with bundle_errors(graph, "not a usable graph"):
            self._session = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
        self._table, self._max_length = table, max_length

    def user_vectors(self, histories: Histories) -> Vectors:
        """User vectors float32 [B, D]; their products with table rows are scores.

        Args:
            histories: item_indices, oldest first, none of them empty.
        """
        vectors = np.empty((len(histories), self._table.shape[1]), dtype=np.float32)
        lengths = [min(len(history), self._max_length) for history in histories]
        for places in group_by_length(lengths):
            history = pad_left([histories[place] for place in places], self._max_length)
            vectors[places] = self._session.run([_USER], self._feed(history))[0]
        return vectors

    def _feed(self, history: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.generic]]:
        """Inputs with a table of the histories' own items alone: the graph scores all of its table.

        Which row an item has there changes nothing about the user's vector.
        """
        rows = np.zeros((1 + history.size, self._table.shape[1]), dtype=np.float32)
        self._table.take(history.ravel(), axis=0, out=rows[1:])
        places = np.arange(1, 1 + history.size, dtype=np.int64).reshape(history.shape)
        places[history == 0] = 0
        return {_HISTORY: places, _ITEM_TABLE: rows}


def group_by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions of histories in groups of similar length, one call each; the longest first."""
    group: list[int] = []
    n_padding = longest = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        n_padding += longest - lengths[place]
        n_positions = longest * (len(group) + 1)
        if group and (
            n_positions > _POSITIONS_AT_ONCE or n_padding > _MAX_PADDED_SHARE * n_positions
        ):
            yield group
            group, n_padding = [], 0
        if not group:
            longest = lengths[place]
        group.append(place)
    if group:
        yield group
