"""A language model behind an OpenAI-compatible `/v1/completions`, as vLLM and llama.cpp offer it.

One token is asked for, with the log-probabilities of the most probable ones: those of the labels
are the scores.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np

from app.reranking.backend import Endpoint
from app.reranking.calibration import expected_ratings, label_scores
from app.reranking.endpoint_backend import EndpointBackend
from app.reranking.http_endpoint import RejectedRequest
from app.reranking.job import Scores, is_score
from app.reranking.prompts import Prompt
from model_store.rerank_prompt import LABELS, RATINGS
from model_store.reranker import RerankerInfo

# Log-probabilities asked for: as many as vLLM allows unless told otherwise. OpenAI's limit is 5.
TOP_TOKENS, FEWER_TOP_TOKENS = 20, 5


class CompletionsBackend(EndpointBackend):
    """A `Backend` that sends one request a prompt, or one a candidate where it is pointwise."""

    def __init__(self, endpoint: Endpoint, info: RerankerInfo) -> None:
        super().__init__(endpoint, "completions")
        self._info = info
        self._top_tokens = TOP_TOKENS

    async def _score(self, prompt: Prompt) -> Scores:
        layout = self._info.layout
        if self._info.mode == "listwise":
            labels = LABELS[: len(prompt.candidates)]
            found = await self._logprobs(prompt.listwise(layout), labels)
            return prompt.in_recommenders_order(label_scores(found, self._info.label_bias))
        beginning, ends = prompt.pointwise(layout)
        asked = (self._logprobs(beginning + end, RATINGS) for end in ends)
        ratings = await asyncio.gather(*asked, return_exceptions=True)
        if failures := [one for one in ratings if isinstance(one, BaseException)]:
            raise failures[0]
        return expected_ratings(np.array(ratings))

    async def _logprobs(self, text: str, labels: str) -> Scores:
        """Log-probabilities of the labels as the next token, float32 [number of labels]."""
        try:
            document = await self._ask(text, self._top_tokens)
        except RejectedRequest:
            if self._top_tokens == FEWER_TOP_TOKENS:
                raise
            document = await self._ask(text, FEWER_TOP_TOKENS)
            self._top_tokens = FEWER_TOP_TOKENS  # it has a lower limit
        found, least = self._read(document)
        known = {label: found[label] for label in labels if label in found}
        if not known:
            raise self._http.malformed(
                f"has none of the labels {labels[0]} to {labels[-1]} among its most probable tokens"
            )
        # One that is not among the most probable tokens is less probable than all that are.
        return np.array([known.get(label, least) for label in labels], dtype=np.float32)

    async def _ask(self, text: str, top_tokens: int) -> Any:
        return await self._http.post(
            {
                **self._model,
                "prompt": text,
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": top_tokens,
            }
        )

    def _read(self, document: Any) -> tuple[dict[str, float], float]:
        """The most probable tokens, without blanks, with their log-probabilities; the least."""
        match document:
            case {"choices": [{"logprobs": {"top_logprobs": [dict(top), *_]}}, *_]}:
                pairs = list(top.items())
            # The form of chat completions, which llama.cpp's own server has here too.
            case {"choices": [{"logprobs": {"content": [{"top_logprobs": list(top)}, *_]}}, *_]}:
                pairs = [_token_of(one) for one in top]
            case {"error": error}:
                raise self._http.malformed(f"is an error: {error!r:.100}")
            case _:
                pairs = []
        if not pairs:
            raise self._http.malformed("has no choices[0].logprobs.top_logprobs")
        found: dict[str, float] = {}
        for token, value in pairs:
            if not isinstance(token, str) or not is_score(value):
                raise self._http.malformed(f"has a token {token!r:.40} with {value!r:.40}")
            # " A" and "A" are tokens of their own; the prompt is answered by either.
            name = token.strip()
            found[name] = max(float(value), found.get(name, -math.inf))
        return found, min(value for _, value in pairs)


def _token_of(one: object) -> tuple[object, object]:
    return (one.get("token"), one.get("logprob")) if isinstance(one, dict) else (None, None)
