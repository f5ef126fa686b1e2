"""The sentence encoder as one ONNX file and one tokenizer file, for a service without torch.

text_encoder.onnx   input_ids, attention_mask int64 [B, T] → vector float32 [B, K], length 1
tokenizer.json      cuts at the encoder's longest text and pads a batch to its longest
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

from model_store.errors import LongtailError
from model_store.files import write_atomically
from offline.encoding.sentence_encoder import SentenceEncoder, Vectors

MODEL_FILE = "text_encoder.onnx"
TOKENIZER_FILE = "tokenizer.json"
OPSET = 18
PARITY_TOLERANCE = 1e-4
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
    largest_difference: float
    query_ms: float  # one short query with tokenisation on one CPU thread, median

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return asdict(self)


class OnnxTextEncoder:
    """The exported pair of files, read the way the service reads them."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of `texts` as one batch, float32 [n, K], rows of length 1."""
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
    in batches of different sizes.

    Raises ParityError if a vector differs by more than PARITY_TOLERANCE in any component.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MODEL_FILE, _to_onnx(encoder))
    write_atomically(folder / TOKENIZER_FILE, _service_tokenizer(encoder).encode())
    exported = OnnxTextEncoder(folder)
    difference = _largest_difference(encoder, exported, parity_texts)
    if not difference <= PARITY_TOLERANCE:
        raise ParityError(
            f"encoder {encoder.name!r}: ONNX and torch differ by {difference:.2e}, "
            f"more than {PARITY_TOLERANCE:.0e}"
        )
    return TextEncoderReport(
        encoder=encoder.name,
        dimensions=encoder.dimensions,
        max_tokens=encoder.max_tokens,
        model_bytes=(folder / MODEL_FILE).stat().st_size,
        parity_texts=len(parity_texts),
        largest_difference=difference,
        query_ms=_time_query_ms(exported),
    )


def _to_onnx(encoder: SentenceEncoder) -> bytes:
    """The graph with its weights, as the bytes of a single file."""
    pooled = encoder.pooled.to("cpu")
    # Sizes 0 and 1 would be taken for constants.
    example = torch.ones(2, 7, dtype=torch.int64)
    batch = torch.export.Dim("batch", min=1)
    tokens = torch.export.Dim("tokens", min=1, max=encoder.max_tokens)
    # The exporter tells of a torchvision that nobody needs, and of its own deprecations.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            pooled,
            (),
            kwargs={"input_ids": example, "attention_mask": example.clone()},
            input_names=["input_ids", "attention_mask"],
            output_names=["vector"],
            opset_version=OPSET,
            dynamo=True,
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


def _largest_difference(
    encoder: SentenceEncoder, exported: OnnxTextEncoder, texts: Sequence[str]
) -> float:
    expected = encoder.encode(texts, label="checking the exported encoder")
    largest = 0.0
    start = 0
    while start < len(texts):
        for size in PARITY_BATCHES:
            batch = slice(start, start + size)
            if texts[batch]:
                found = exported.encode(texts[batch])
                # max would lose a NaN: comparisons with it are false.
                largest = float(np.maximum(largest, np.abs(found - expected[batch]).max()))
            start += size
    return largest


def _time_query_ms(exported: OnnxTextEncoder) -> float:
    times_s = []
    for _ in range(TIMED_RUNS):
        started = time.perf_counter()
        exported.encode([TIMED_QUERY])
        times_s.append(time.perf_counter() - started)
    return round(float(np.median(times_s)) * 1000, 2)
