"""Asks an endpoint in tests, without the patience that a person needs."""

from __future__ import annotations

from offline.knowledge.endpoint.model import EndpointModel
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.prompt import Prompt
from tests.offline.knowledge.chat_endpoint import Endpoint

SAMPLING = Sampling(max_new_tokens=32, temperature=0.2, repetition_penalty=1.1, seed=5)
QUICKLY_S = 0.005


def open_model(
    where: Endpoint | str, timeout_s: float = 5.0, patience_s: float = 5.0, concurrency: int = 4
) -> EndpointModel:
    url = where if isinstance(where, str) else where.url
    return EndpointModel("big-llm", url, concurrency, timeout_s, patience_s, first_wait_s=QUICKLY_S)


def ask(where: Endpoint | str, *questions: str, **options: float) -> list[Answer]:
    """Answers to questions; to one about toys where none is given."""
    prompts = [Prompt(question, "", question) for question in questions or ["toys"]]
    return open_model(where, **options).generate(prompts, SAMPLING)  # type: ignore[arg-type]
