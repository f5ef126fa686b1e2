"""Runs ONNX graphs: sequence model, text encoder, reranker; the only user of onnxruntime."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Encoding, Tokenizer

from app.model.arrays import NO_SCORES, FloatArray, IndexArray
from model_store.eight_bits import exact_in_8_bits
from model_store.errors import BundleError, ConfigError
from model_store.manifest import Tensor
from model_store.reading import bundle_errors

log = logging.getLogger(__name__)

Provider: TypeAlias = Literal["auto", "cpu", "cuda"]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
Padded: TypeAlias = npt.NDArray[np.int64]
Feed: TypeAlias = Callable[[Padded], dict[str, Any]]
# Longer texts are cut: the available encoders were trained on no more.
MAX_TOKENS = 256
# Fixed cost of a call, in positions: some 60 microseconds, at 1.6 a position (D 64).
CALL_COST_POSITIONS = 40
_ONNX_TYPES = {"int64": "tensor(int64)", "float32": "tensor(float)", "bool": "tensor(bool)"}
_ENCODER_INPUTS = tuple(
    Tensor(name=name, dtype="int64", shape=("B", "L")) for name in ("input_ids", "attention_mask")
)
# Words, scripts and lengths that every encoder must accept.
_PROBES = ("warm up", "", "q", "Ω≈ç√ 漢字 🎬 e\u0301")
_LONG_PROBE = "word " * (2 * MAX_TOKENS)


def open_session(path: Path, wanted: Provider = "cpu", *, threads: int = 1) -> ort.InferenceSession:
    """A session that computes in the calling thread, or on a CUDA device.

    One thread a session: a request is far too small to divide, and the cores are better used by
    other workers. Only the reranker's graph is large enough for more.

    Args:
        path: file of the graph.
        wanted: auto uses a device where there is a driver for one, and the CPU otherwise.
        threads: that compute on the CPU; they sleep between calls.

    Raises:
        BundleError: the graph can't be loaded.
        ConfigError: cuda was requested and is not available.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, value in exact_in_8_bits().items():
        options.add_session_config_entry(name, value)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = [CPU]
    if wanted == "cuda" or (wanted == "auto" and _has_driver()):
        providers.insert(0, CUDA)
    with bundle_errors(path, "not a usable graph"):
        session = ort.InferenceSession(str(path), options, providers=providers)
    # It ignores a provider that it can't load, and at most logs that.
    found = session.get_providers()[0]
    if wanted == "cuda" and found != CUDA:
        raise ConfigError(
            f"LONGTAIL_EXECUTION_PROVIDER=cuda: {path.name} runs on {found} only; "
            "are the driver and the libraries of CUDA and cuDNN there?"
        )
    if found != providers[0]:
        log.warning("%s: %s is not usable here, going on with %s", path.name, providers[0], found)
    return session


def _has_driver() -> bool:
    if CUDA not in ort.get_available_providers():
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def check_tensors(
    path: Path,
    session: ort.InferenceSession,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> None:
    """Check the inputs and outputs of a graph; further outputs are allowed.

    Raises:
        BundleError: an input or output is missing, an input is unknown, or a type or shape differs.
    """
    given = {node.name: node for node in session.get_inputs()}
    made = {node.name: node for node in session.get_outputs()}
    if unknown := given.keys() - {tensor.name for tensor in inputs}:
        raise BundleError(f"{path}: the graph has an unknown input {min(unknown)!r}")
    for role, nodes, tensors in (("input", given, inputs), ("output", made, outputs)):
        for tensor in tensors:
            node = nodes.get(tensor.name)
            if node is None:
                raise BundleError(f"{path}: the graph has no {role} {tensor.name!r}")
            if not _fits(node, tensor):
                raise BundleError(
                    f"{path}: {role} {tensor.name!r} is {node.type} {node.shape}, "
                    f"expected {tensor.dtype} {list(tensor.shape)}"
                )


def _fits(node: Any, tensor: Tensor) -> bool:
    if node.type != _ONNX_TYPES[tensor.dtype] or len(node.shape) != len(tensor.shape):
        return False
    # A dimension of the graph that has a name, or none, takes any size.
    return all(
        not isinstance(found, int) or found == expected
        for found, expected in zip(node.shape, tensor.shape, strict=True)
    )


class SequenceModel:
    """User vectors and scores for histories, against a table that is bound once.

    On the CPU the table is never copied; a device gets one copy.

    Args:
        session: the bundle's graph; shared between tables.
        table: float32 [N+1, D], contiguous; a read-only memory map will do.
        max_length: longer histories are cut to their last max_length.
    """

    def __init__(self, session: ort.InferenceSession, table: FloatArray, max_length: int) -> None:
        self._session = session
        self.max_length = max_length
        self.table = table
        device = "cuda" if self.execution_provider == CUDA else "cpu"
        self._bound = ort.OrtValue.ortvalue_from_numpy(table, device, 0)

    @property
    def execution_provider(self) -> str:
        """The execution provider of the session."""
        return str(self._session.get_providers()[0])

    def with_table(self, table: FloatArray) -> SequenceModel:
        """The same graph over another table."""
        return SequenceModel(self._session, table, self.max_length)

    def scores(self, histories: Sequence[IndexArray]) -> list[FloatArray]:
        """Scores of all items for each history, [N+1]; the caller may change the arrays."""
        return self._ask("scores", histories, self._feed_all)

    def user_vectors(self, histories: Sequence[IndexArray]) -> list[FloatArray]:
        """User vectors [D] for each history; their products with table rows are scores."""
        return self._ask("user", histories, self._feed_own_rows)

    def _ask(self, output: str, histories: Sequence[IndexArray], feed: Feed) -> list[FloatArray]:
        rows: list[FloatArray] = [NO_SCORES] * len(histories)
        lengths = [min(len(history), self.max_length) for history in histories]
        for places in group_by_length(lengths):
            padded = self._padded([histories[place] for place in places])
            [together] = self._session.run([output], feed(padded))
            for place, row in zip(places, together, strict=True):
                rows[place] = row
        return rows

    def _feed_all(self, padded: Padded) -> dict[str, Any]:
        # The table stays where it is bound; only histories and answers are transferred.
        return {"history": padded, "item_table": self._bound}

    def _feed_own_rows(self, padded: Padded) -> dict[str, Any]:
        """Inputs with a table of the histories' own items only.

        The graph scores its whole table, even where only user vectors are needed, which takes 15
        ms for a million items.
        """
        rows = np.zeros((1 + padded.size, self.table.shape[1]), dtype=np.float32)
        self.table.take(padded.ravel(), axis=0, out=rows[1:])
        places = np.arange(1, 1 + padded.size, dtype=np.int64).reshape(padded.shape)
        places[padded == 0] = 0
        return {"history": places, "item_table": rows}

    def _padded(self, histories: Sequence[IndexArray]) -> Padded:
        """[B, L] with 0 on the left; L is the longest history's length, at most max_length."""
        length = min(max(1, *map(len, histories)), self.max_length)
        padded = np.zeros((len(histories), length), dtype=np.int64)
        for row, history in zip(padded, histories, strict=True):
            if len(history):
                row[-len(history) :] = history[-length:]
        return padded


class RatingGraph:
    """Ratings from a user's row and items' rows.

    Args:
        session: the bundle's graph.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session

    @property
    def execution_provider(self) -> str:
        """The execution provider of the session."""
        return str(self._session.get_providers()[0])

    def rate(self, user: FloatArray, items: FloatArray) -> FloatArray:
        """Ratings [M], not clipped, of items [M, item row] by a user [user row]."""
        ratings: FloatArray
        [ratings] = self._session.run(["ratings"], {"user": user[None], "items": items})
        return ratings


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Positions of histories, in groups of one call each.

    Short ones join a longer one as long as the padding costs less than a call of their own.
    """
    groups: list[list[int]] = []
    longest = n_padding = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        n_padding += longest - lengths[place]
        if not groups or n_padding > CALL_COST_POSITIONS:
            groups.append([])
            longest, n_padding = lengths[place], 0
        groups[-1].append(place)
    return groups


class TextEncoder:
    """Encodes free text into the space of the knowledge vectors, K numbers.

    Raises:
        BundleError: the graph or the tokenizer can't be used, or they don't fit each other.
    """

    def __init__(self, graph: Path, tokenizer: Path, vector_size: int) -> None:
        self._session = open_session(graph)
        vectors = Tensor(name="vector", dtype="float32", shape=("B", vector_size))
        check_tensors(graph, self._session, _ENCODER_INPUTS, [vectors])
        with bundle_errors(tokenizer, "not a tokenizer"):
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
            self._tokenizer.no_padding()
            limit = (self._tokenizer.truncation or {}).get("max_length", MAX_TOKENS)
            self._tokenizer.enable_truncation(min(limit, MAX_TOKENS))
            unknown = getattr(self._tokenizer.model, "unk_token", None)
            self._unknown = None if unknown is None else self._tokenizer.token_to_id(unknown)
        with bundle_errors(graph, f"can't be used with {tokenizer.name}"):
            self._probe(vector_size)

    def _probe(self, vector_size: int) -> None:
        """Encode sample texts, and the last token that the tokenizer knows."""
        last = max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        vectors = [
            (1, self._run(np.full((1, 1), last), np.ones((1, 1), np.int64))),
            (len(_PROBES), self.encode(_PROBES)),
            (1, self.encode([_LONG_PROBE])),
        ]
        for n_texts, found in vectors:
            if found.shape != (n_texts, vector_size) or not np.isfinite(found).all():
                raise BundleError(f"its vectors are {found.shape}, or not finite")

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of unit length, [B, K]; zeros for a text without a single known token."""
        encodings = self._tokenizer.encode_batch(list(texts))
        tokens = [encoding.ids for encoding in encodings]
        length = max(1, *map(len, tokens))
        input_ids = np.zeros((len(tokens), length), dtype=np.int64)
        mask = np.zeros_like(input_ids)
        for row, ids in enumerate(tokens):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        vectors = np.nan_to_num(self._run(input_ids, mask), copy=False)
        vectors[[not self._knows(encoding) for encoding in encodings]] = 0
        return vectors

    def _knows(self, encoding: Encoding) -> bool:
        """Whether a text has a token that is neither unknown nor put around every text."""
        added = encoding.special_tokens_mask
        return any(
            not is_added and token != self._unknown
            for token, is_added in zip(encoding.ids, added, strict=True)
        )

    def _run(self, input_ids: Padded, mask: Padded) -> FloatArray:
        feed = {"input_ids": input_ids, "attention_mask": mask}
        [vectors] = self._session.run(["vector"], feed)
        return vectors  # type: ignore[no-any-return]
