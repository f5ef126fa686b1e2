"""The bundle's own language model: an ONNX graph that gives the logits of labels alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from app.model.inference import CPU, Provider, check_tensors, open_session
from app.reranking.calibration import expected_ratings, label_scores
from app.reranking.job import RerankError, Scores
from app.reranking.prompts import Prompt
from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.errors import BundleError
from model_store.label_inputs import TokenTree, make_label_inputs
from model_store.manifest import Tensor
from model_store.reading import bundle_errors
from model_store.reranker import LabelGraph, RerankerInfo
from model_store.texts import first_line

# On a CPU one prompt is enough work for its cores; a device computes many at once.
PROMPTS_ON_CPU, PROMPTS_ON_DEVICE = 1, 16
_INPUTS = (
    Tensor(name="tokens", dtype="int64", shape=("B", "L")),
    Tensor(name="positions", dtype="int64", shape=("B", "L")),
    Tensor(name="mask", dtype="bool", shape=("B", "L", "L")),
    Tensor(name="read_at", dtype="int64", shape=("B", "M")),
)
_PROBE = Prompt(("Warm-up Ω",), ("漢字", "e\u0301"), shown=(1, 0))


class OnnxBackend:
    """A `Backend` over a session.

    Args:
        session: of `reranker.onnx`.
        tokenizer: of `reranker_tokenizer.json`.
        info: the reranker's description.
        graph: of it.
    """

    def __init__(
        self, session: Any, tokenizer: Tokenizer, info: RerankerInfo, graph: LabelGraph
    ) -> None:
        self._session, self._tokenizer, self._info, self._graph = session, tokenizer, info, graph
        on_cpu = session.get_providers()[0] == CPU
        self.max_prompts = PROMPTS_ON_CPU if on_cpu else PROMPTS_ON_DEVICE

    @classmethod
    async def open(
        cls,
        bundle: Bundle,
        info: RerankerInfo,
        graph: LabelGraph,
        provider: Provider,
        threads: int,
    ) -> OnnxBackend:
        """Load and warm up; an int8 graph runs on the CPU, which alone has its operators.

        Raises:
            BundleError: a file can't be used, or they don't fit each other.
            ConfigError: the requested provider isn't available.
        """
        path, tokenizer_path = (bundle.folder / name for name in files.RERANKER_FILES)
        wanted: Provider = "cpu" if graph.precision == "int8" else provider
        session = await asyncio.to_thread(open_session, path, wanted, threads=threads)
        logits = Tensor(name="logits", dtype="float32", shape=("B", "M", graph.n_rows))
        check_tensors(path, session, _INPUTS, [logits])
        with bundle_errors(tokenizer_path, "not a tokenizer"):
            tokenizer = Tokenizer.from_file(str(tokenizer_path))
            tokenizer.no_padding()
            tokenizer.no_truncation()
        backend = cls(session, tokenizer, info, graph)
        with bundle_errors(path, f"can't be used with {tokenizer_path.name}"):
            [found] = await backend.score([_PROBE])
            if isinstance(found, RerankError):
                raise BundleError(str(found))
        return backend

    async def score(self, prompts: Sequence[Prompt]) -> list[Scores | RerankError]:
        """See `Backend`."""
        return await asyncio.to_thread(self._score, prompts)

    async def close(self) -> None:
        """See `Backend`."""

    def _score(self, prompts: Sequence[Prompt]) -> list[Scores | RerankError]:
        trees = [self._tree(prompt) for prompt in prompts]
        limit = self._graph.max_tokens
        results: list[Scores | RerankError] = [
            RerankError(f"its prompt has {tree.n_tokens} tokens, the limit is {limit}")
            for tree in trees
        ]
        fitting = [n for n, tree in enumerate(trees) if tree.n_tokens <= limit]
        if fitting:
            inputs = make_label_inputs([trees[n] for n in fitting])
            try:
                [logits] = self._session.run(["logits"], inputs.feeds())
            except Exception as error:  # onnxruntime raises whatever it runs into
                logits = None
                failure = RerankError(f"the reranker's graph failed: {first_line(error)}")
            for row, n in enumerate(fitting):
                results[n] = failure if logits is None else self._read(prompts[n], logits[row])
        return results

    def _tree(self, prompt: Prompt) -> TokenTree:
        if self._info.mode == "listwise":
            return TokenTree((), [self._begin(prompt.listwise(self._info.layout))])
        beginning, ends = prompt.pointwise(self._info.layout)
        return TokenTree(self._begin(beginning), [self._encode(end) for end in ends])

    def _begin(self, text: str) -> list[int]:
        return [*self._graph.begins_with, *self._encode(text)]

    def _encode(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens

    def _read(self, prompt: Prompt, logits: npt.NDArray[np.float32]) -> Scores | RerankError:
        """A prompt's scores from its logits [M, R]."""
        n_candidates = len(prompt.candidates)
        if self._info.mode == "listwise":
            scores = prompt.in_recommenders_order(
                label_scores(logits[0, :n_candidates], self._info.label_bias)
            )
        else:
            scores = expected_ratings(logits[:n_candidates, len(self._graph.label_tokens) :])
        if not np.isfinite(scores).all():
            return RerankError("the reranker's graph gave scores that are not finite")
        return scores
