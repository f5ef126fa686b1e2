"""The sentence encoder as one ONNX file and one tokenizer file, for a service without torch.

text_encoder.onnx   input_ids, attention_mask int64 [B, T] → vector float32 [B, K], length 1
tokenizer.json      cuts at the encoder's longest text and pads a batch to its longest
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

from model_store.errors import LongtailError
from model_store.files import write_atomically
from offline.encoding.half_weights import store_weights_in_half
from offline.encoding.sentence_encoder import SentenceEncoder, Vectors
from offline.progress import track
from offline.quiet_exporter import quiet_exporter

MODEL_FILE = "text_encoder.onnx"
TOKENIZER_FILE = "tokenizer.json"
OPSET = 18
# Of any component of a vector, to torch's: the graph with torch's own weights, and the file with
# weights in half precision. For all-MiniLM-L6-v2 the latter is about 1e-4, and of the ten best
# films of 24 queries it kept .996.
GRAPH_TOLERANCE = 1e-4
FILE_TOLERANCE = 5e-4
PARITY_BATCHES = (1, 2, 5, 16)
TIMED_QUERY = "a funny film for children about toys"
TIMED_RUNS = 30


class ParityError(LongtailError):
    """The exported encoder doesn't give torch's vectors."""


@dataclass(frozen=True)
class TextEncoderReport:
    """What was exported and how it compares."""

    encoder: str
    dimensions: int
    max_tokens: int
    model_bytes: int
    parity_texts: int
    graph_difference: float  # largest of any component to torch, weights as they are
    largest_difference: float  # the same of the file, with its weights in half precision
    query_ms: float  # one short query with tokenisation on one CPU thread, median

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)


class OnnxTextEncoder:
    """The exported pair of files, read the way the service reads them."""

    def __init__(self, model: bytes, tokenizer: str, threads: int = 1) -> None:
        """`model` is the content of text_encoder.onnx, `tokenizer` that of tokenizer.json."""
        self._tokenizer = Tokenizer.from_str(tokenizer)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> OnnxTextEncoder:
        """Read text_encoder.onnx and tokenizer.json of `folder`."""
        tokenizer = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
        return cls((folder / MODEL_FILE).read_bytes(), tokenizer, threads)

    def encode(
        self, texts: Sequence[str], batch_size: int = 64, label: str = "encoding"
    ) -> Vectors:
        """Vectors of `texts`, float32 [n, K], rows of length 1."""
        starts = range(0, len(texts), batch_size)
        batches = [texts[start : start + batch_size] for start in starts]
        vectors = [np.zeros((0, self._session.get_outputs()[0].shape[1]), np.float32)]
        vectors += [self.encode_batch(batch) for batch in track(batches, label)]
        return np.concatenate(vectors)

    def encode_batch(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts`, one or more, in one pass."""
        encoded = self._tokenizer.encode_batch(list(texts))
        feeds = {
            "input_ids": np.array([e.ids for e in encoded], dtype=np.int64),
            "attention_mask": np.array([e.attention_mask for e in encoded], dtype=np.int64),
        }
        vectors: Vectors = self._session.run(["vector"], feeds)[0]
        return vectors


def export_text_encoder(
    encoder: SentenceEncoder, folder: Path, parity_texts: Sequence[str]
) -> TextEncoderReport:
    """Write text_encoder.onnx and tokenizer.json into `folder` and check them against torch.

    `parity_texts` are real texts (item texts, say) of different lengths; they are encoded by both
    in batches of different sizes. Nothing is written if the check fails.

    Raises ParityError if a vector's component differs from torch's by more than GRAPH_TOLERANCE
    before, or FILE_TOLERANCE after the weights are stored in half precision.
    """
    graph, tokenizer = _to_onnx(encoder), _service_tokenizer(encoder)
    content = store_weights_in_half(graph)
    expected = encoder.encode(parity_texts, label="checking the exported encoder")
    graph_difference = _compare(graph, tokenizer, parity_texts, expected)
    _check_within(GRAPH_TOLERANCE, graph_difference, encoder.name)
    file_difference = _compare(content, tokenizer, parity_texts, expected)
    _check_within(FILE_TOLERANCE, file_difference, encoder.name)
    write_atomically(folder / MODEL_FILE, content)
    write_atomically(folder / TOKENIZER_FILE, tokenizer.encode())
    return TextEncoderReport(
        encoder=encoder.name,
        dimensions=encoder.dimensions,
        max_tokens=encoder.max_tokens,
        model_bytes=len(content),
        parity_texts=len(parity_texts),
        graph_difference=graph_difference,
        largest_difference=file_difference,
        query_ms=_time_query_ms(OnnxTextEncoder.open(folder)),
    )


def _to_onnx(encoder: SentenceEncoder) -> bytes:
    """The graph with its weights, as the bytes of a single file."""
    pooled = encoder.pooled.to("cpu")
    # Sizes 0 and 1 would be taken for constants.
    example = torch.ones(2, 7, dtype=torch.int64)
    batch = torch.export.Dim("batch", min=1)
    tokens = torch.export.Dim("tokens", min=1, max=encoder.max_tokens)
    with quiet_exporter(), torch.inference_mode():
        program = torch.onnx.export(
            pooled,
            (),
            kwargs={"input_ids": example, "attention_mask": example.clone()},
            input_names=["input_ids", "attention_mask"],
            output_names=["vector"],
            opset_version=OPSET,
            dynamo=True,
            # The runtime optimizes graphs itself: the same latency, a quarter less of the export.
            optimize=False,
            dynamic_shapes={
                "input_ids": {0: batch, 1: tokens},
                "attention_mask": {0: batch, 1: tokens},
            },
            verbose=False,
        )
    encoder.pooled.to(encoder.device)
    if program is None:  # only without dynamo=True
        raise TypeError("torch.onnx.export returned no program")
    return bytes(program.model_proto.SerializeToString())


def _service_tokenizer(encoder: SentenceEncoder) -> str:
    tokenizer = Tokenizer.from_str(encoder.tokenizer.backend_tokenizer.to_str())
    tokenizer.enable_truncation(max_length=encoder.max_tokens)
    pad = encoder.tokenizer.pad_token
    tokenizer.enable_padding(pad_id=encoder.tokenizer.pad_token_id, pad_token=pad)
    text: str = tokenizer.to_str()
    return text


def _compare(model: bytes, tokenizer: str, texts: Sequence[str], expected: Vectors) -> float:
    """The largest difference of any component, over batches of different sizes."""
    exported = OnnxTextEncoder(model, tokenizer)
    largest = 0.0
    for batch in _batches(len(texts)):
        difference = np.abs(exported.encode_batch(texts[batch]) - expected[batch]).max()
        # np.maximum keeps a NaN; max would lose it.
        largest = float(np.maximum(largest, difference))
    return largest


def _batches(n_texts: int) -> Iterator[slice]:
    """Slices of PARITY_BATCHES in turn until all texts are covered."""
    start = 0
    for size in itertools.cycle(PARITY_BATCHES):
        if start >= n_texts:
            return
        yield slice(start, start + size)
        start += size


def _check_within(tolerance: float, difference: float, name: str) -> None:
    if not difference <= tolerance:  # true of NaN, too
        raise ParityError(
            f"encoder {name!r}: ONNX and torch differ by {difference:.2e}, "
            f"more than {tolerance:.0e}"
        )


def _time_query_ms(exported: OnnxTextEncoder) -> float:
    times_s = []
    for _ in range(TIMED_RUNS):
        started = time.perf_counter()
        exported.encode_batch([TIMED_QUERY])
        times_s.append(time.perf_counter() - started)
    return round(float(np.median(times_s)) * 1000, 2)
