"""The exported language model, read the way the service reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from scipy.special import log_softmax, softmax
from tokenizers import Tokenizer

from model_store.eight_bits import exact_in_8_bits
from model_store.label_inputs import TokenTree, make_label_inputs
from model_store.rerank_prompt import RATINGS
from model_store.reranker import LabelGraph
from offline.instruction.label_scorer import Float32

GRAPH_FILE = "reranker.onnx"
TOKENIZER_FILE = "reranker_tokenizer.json"
_RATINGS = np.array([float(rating) for rating in RATINGS], np.float32)


class OnnxLabelScorer:
    """A `LabelScorer` on the CPU."""

    def __init__(
        self,
        model: bytes,
        tokenizer: str,
        graph: LabelGraph,
        threads: int = 1,
        prompts_at_a_time: int = 1,
    ) -> None:
        """Arguments: content of reranker.onnx and of reranker_tokenizer.json, their description.

        Prompts gain nothing from others in a batch on a CPU: one is work enough for its cores.
        """
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._graph = graph
        self._prompts_at_a_time = prompts_at_a_time
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        for name, value in exact_in_8_bits().items():
            options.add_session_config_entry(name, value)
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    @classmethod
    def open(cls, folder: Path, graph: LabelGraph, threads: int = 1) -> OnnxLabelScorer:
        """Read reranker.onnx and reranker_tokenizer.json of `folder`."""
        tokenizer = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
        return cls((folder / GRAPH_FILE).read_bytes(), tokenizer, graph, threads)

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        """See `LabelScorer.scores`."""
        trees = [TokenTree((), [self._begin(prompt)]) for prompt in prompts]
        return [
            log_softmax(logits[0, :n])
            for logits, n in zip(self._logits(trees), n_labels, strict=True)
        ]

    def ratings(self, beginnings: Sequence[str], ends: Sequence[Sequence[str]]) -> list[Float32]:
        """See `LabelScorer.ratings`."""
        trees = [
            TokenTree(self._begin(beginning), [self._encode(end) for end in own])
            for beginning, own in zip(beginnings, ends, strict=True)
        ]
        first = len(self._graph.label_tokens)
        return [softmax(logits[:, first:], axis=1) @ _RATINGS for logits in self._logits(trees)]

    def _logits(self, trees: Sequence[TokenTree]) -> list[Float32]:
        """Logits [number of ends, R] of each prompt; alike lengths are computed together."""
        by_length = sorted(range(len(trees)), key=lambda number: trees[number].n_tokens)
        found: list[Float32] = [np.zeros((0, self._graph.n_rows), np.float32)] * len(trees)
        for start in range(0, len(trees), self._prompts_at_a_time):
            chosen = by_length[start : start + self._prompts_at_a_time]
            inputs = make_label_inputs([trees[number] for number in chosen])
            [logits] = self._session.run(["logits"], inputs.feeds())
            for number, row in zip(chosen, logits, strict=True):
                found[number] = row[: len(trees[number].ends)]
        return found

    def _begin(self, text: str) -> list[int]:
        return [*self._graph.begins_with, *self._encode(text)]

    def _encode(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens
