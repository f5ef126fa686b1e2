"""A cross-encoder behind `/v1/rerank`, the call of Jina's and Cohere's form."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.reranking.backend import Endpoint
from app.reranking.endpoint_backend import EndpointBackend
from app.reranking.job import Scores, is_score
from app.reranking.prompts import Prompt
from model_store.rerank_prompt import PromptLayout


class RerankBackend(EndpointBackend):
    """A `Backend`: the history's titles are the query, the candidates' titles the documents."""

    def __init__(self, endpoint: Endpoint, layout: PromptLayout) -> None:
        super().__init__(endpoint, "rerank")
        self._layout = layout

    async def _score(self, prompt: Prompt) -> Scores:
        clean = self._layout.clean
        document = await self._http.post(
            {
                **self._model,
                "query": "; ".join(map(clean, prompt.history)),
                # Shown in an order that has nothing to do with ranks, as to a language model.
                "documents": [clean(prompt.candidates[position]) for position in prompt.shown],
                "top_n": len(prompt.candidates),
            }
        )
        return prompt.in_recommenders_order(self._read(document, len(prompt.candidates)))

    def _read(self, document: Any, n_documents: int) -> Scores:
        """Relevance of each document, float32 [n_documents]."""
        results = document.get("results") if isinstance(document, dict) else None
        if not isinstance(results, list):
            raise self._http.malformed("has no list of results")
        scores = np.full(n_documents, np.nan, dtype=np.float32)
        for result in results:
            match result:
                case {"index": int(index), "relevance_score": score} if (
                    0 <= index < n_documents and is_score(score) and np.isnan(scores[index])
                ):
                    scores[index] = score
                case _:
                    raise self._http.malformed(f"has a wrong result: {result!r:.100}")
        if np.isnan(scores).any():
            raise self._http.malformed(f"has {len(results)} results for {n_documents} documents")
        return scores
