"""What back ends behind an HTTP endpoint have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from app.reranking.backend import Endpoint
from app.reranking.http_endpoint import HttpEndpoint
from app.reranking.job import RerankError, Scores
from app.reranking.prompts import Prompt


class EndpointBackend(ABC):
    """A `Backend` that asks about one prompt at a time.

    Args:
        endpoint: asked.
        path: of the call, such as "rerank".
    """

    max_prompts = 1

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        self._http = HttpEndpoint(endpoint, path)
        self._model = {"model": endpoint.model} if endpoint.model else {}

    async def score(self, prompts: Sequence[Prompt]) -> list[Scores | RerankError]:
        """See `Backend`."""
        results: list[Scores | RerankError] = []
        for prompt in prompts:
            try:
                results.append(await self._score(prompt))
            except RerankError as error:
                results.append(error)
        return results

    async def close(self) -> None:
        """See `Backend`."""
        await self._http.close()

    @abstractmethod
    async def _score(self, prompt: Prompt) -> Scores:
        """Scores float32 [k'] of the candidates, in the recommender's order.

        Raises:
            RerankError: the endpoint gave none.
        """
