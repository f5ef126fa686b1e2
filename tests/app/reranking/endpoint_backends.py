"""Back ends behind HTTP that ask a test's server about one prompt."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from app.reranking.backend import Backend, Endpoint
from app.reranking.completions_backend import CompletionsBackend
from app.reranking.job import RerankError, Scores
from app.reranking.prompts import Prompt
from app.reranking.rerank_backend import RerankBackend
from model_store.aggregation import Weighting
from model_store.rerank_prompt import PromptLayout
from model_store.reranker import RerankerInfo
from tests.app.reranking.endpoint import Server

KEY = "sk-a-secret-key"
LAYOUT = PromptLayout(n_candidates=4, n_history=2, n_similar=2, max_title_characters=20)
INFO = RerankerInfo(
    name="any",
    layout=LAYOUT,
    weighting=Weighting(alpha_1=1, alpha_2=0, l_min=0, l_max=1, tail_interactions=3),
)
PROMPT = Prompt(("Old\n1", "New"), ("First", "Second", "Third"), (2, 0, 1), ("Theirs",), "u")
PATIENCE_S = 20.0  # on a busy machine a right answer takes long, too


def completions(server: Server, info: RerankerInfo = INFO, **options: Any) -> Backend:
    given = {"url": server.url, "key": KEY, "timeout_s": PATIENCE_S, "model": "m", **options}
    return CompletionsBackend(Endpoint(api="completions", **given), info)


def rerank(server: Server, **options: Any) -> Backend:
    given = {"key": KEY, "timeout_s": PATIENCE_S, "model": "m", **options}
    return RerankBackend(Endpoint(server.url, "rerank", **given), LAYOUT)


def score(backend: Backend, *prompts: Prompt) -> list[Scores | RerankError]:
    async def run() -> list[Scores | RerankError]:
        found = await backend.score(prompts or [PROMPT])
        await backend.close()
        return found

    return asyncio.run(run())


def top(**logprobs: float) -> dict[str, Any]:
    """A completion with these most probable tokens."""
    return {"choices": [{"text": " A", "logprobs": {"top_logprobs": [logprobs]}}]}


def chat_top(**logprobs: Any) -> dict[str, Any]:
    """The same in the form of chat completions."""
    tokens = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {"choices": [{"text": " A", "logprobs": {"content": [{"top_logprobs": tokens}]}}]}


def listed(found: Scores | RerankError) -> list[float]:
    assert not isinstance(found, RerankError), found
    assert found.dtype == np.float32
    return found.tolist()
