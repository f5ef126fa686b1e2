"""A language model behind an OpenAI-compatible endpoint, such as vLLM's."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from model_store.errors import ConfigError, LongtailError
from model_store.redaction import redacted
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.prompt import Prompt

KEY_VARIABLE = "LONGTAIL_LLM_API_KEY"
TRIES = 6
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
# Worth another try: too many requests, too early, time-outs and all errors of the server.
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
EXCERPT_CHARACTERS = 200


class EndpointError(LongtailError):
    """The endpoint doesn't answer, or its answer is malformed."""


class EndpointModel:
    """Answers prompts through `<base_url>/chat/completions`, several requests in flight.

    The beginning of the answer isn't sent, since the protocol has no field for it, and larger
    models need no such help. Nor is the repetition penalty, which isn't in the protocol either.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        concurrency: int,
        timeout_s: float,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        """Raises ConfigError if `base_url` isn't an http(s) address."""
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"base_url {redacted(base_url)!r} is not an http:// or https:// address"
            )
        self._model = model
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._name = f"endpoint {redacted(self._url)}"
        self._concurrency = concurrency
        self._first_wait_s = first_wait_s
        key = os.environ.get(KEY_VARIABLE)
        self._client = httpx.Client(
            timeout=timeout_s,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=concurrency),
        )

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self._model

    @property
    def prompts_at_a_time(self) -> int:
        """Several rounds of requests, so that a slow one doesn't idle the others."""
        return 4 * self._concurrency

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        """Answer `prompts`, in their order. Raises EndpointError once the tries are spent."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            answers = [pool.submit(self._ask, prompt, sampling) for prompt in prompts]
            try:
                return [answer.result() for answer in answers]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _ask(self, prompt: Prompt, sampling: Sampling) -> Answer:
        request = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt.ask}],
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
        }
        response = self._post(request)
        try:
            body = response.json()
            text = body["choices"][0]["message"]["content"] or ""
            n_tokens = int((body.get("usage") or {}).get("completion_tokens", 0))
            return Answer(str(text), n_tokens)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise EndpointError(
                f"{self._name}: answer is not a chat completion: {_excerpt(response)}"
            ) from None

    def _post(self, request: Mapping[str, Any]) -> httpx.Response:
        """The endpoint's 200, after up to TRIES tries with pauses between them."""
        trouble = ""
        wait_s = 0.0
        for attempt in range(TRIES):
            time.sleep(wait_s)
            wait_s = self._backoff_s(attempt)
            try:
                response = self._client.post(self._url, json=request)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == httpx.codes.OK:
                return response
            trouble = f"status {response.status_code}: {_excerpt(response)}"
            if response.status_code not in PASSING_STATUSES:
                raise EndpointError(f"{self._name}, model {self._model!r}: {trouble}")
            wait_s = max(wait_s, _asked_wait_s(response))
        raise EndpointError(f"{self._name}, model {self._model!r}: {trouble} (after {TRIES} tries)")

    def _backoff_s(self, attempt: int) -> float:
        """A doubling pause with jitter: requests that failed together return one by one."""
        longest = min(self._first_wait_s * 2.0**attempt, LONGEST_WAIT_S)
        return random.uniform(longest / 2, longest)


def _asked_wait_s(response: httpx.Response) -> float:
    """Seconds of the endpoint's `Retry-After`, 0 without one."""
    try:
        return min(max(float(response.headers.get("Retry-After", 0)), 0.0), LONGEST_WAIT_S)
    except ValueError:  # an HTTP date, which no model server sends
        return 0.0


def _excerpt(response: httpx.Response) -> str:
    return " ".join(response.text.split())[:EXCERPT_CHARACTERS]
