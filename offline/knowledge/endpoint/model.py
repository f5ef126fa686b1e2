"""A language model behind an OpenAI-compatible endpoint, such as vLLM's."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from model_store.endpoint_access import EndpointAccess
from model_store.endpoint_problem import EndpointProblem, Verdict
from offline.knowledge.endpoint.body import Garbled
from offline.knowledge.endpoint.client import (
    FIRST_WAIT_S,
    EndpointClient,
    EndpointError,
    RejectedRequest,
)
from offline.knowledge.endpoint.completion import NoChoices, read_completion
from offline.knowledge.endpoint.options import RequestOptions
from offline.knowledge.flaws import Flaw
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.prompt import Prompt
from offline.progress import announce

KEY_VARIABLE = "LONGTAIL_LLM_API_KEY"
CALL = "chat/completions"
MIN_ITEM_CHARACTERS = 50
# Shows whether the endpoint rejects one text, or everything.
_PROBE = Prompt("Describe a chair in one sentence.", "")


# The main thread looks up so often, since a signal that another thread gets doesn't wake it.
_LOOKS_UP_S = 0.2


class EndpointModel:
    """Answers prompts through `chat/completions`, several requests in flight.

    What the endpoint doesn't take is found out once: parameters that it rejects are left out from
    then on, and the texts of items are cut to the length that it accepts.

    The beginning of the answer isn't sent, since the protocol has no field for it, and larger
    models need no such help. Nor is the repetition penalty, which isn't in the protocol either.

    Args:
        model: its name at the endpoint.
        base_url: of the endpoint; see `EndpointAccess`.
        concurrency: requests in flight.
        timeout_s: of one answer.
        patience_s: how long one request is tried.
        first_wait_s: before the second try of a request.

    Raises:
        ConfigError: `base_url` isn't an http(s) address, or the key can't be sent.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        concurrency: int,
        timeout_s: float,
        patience_s: float,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        access = EndpointAccess(base_url, CALL, os.environ.get(KEY_VARIABLE), "knowledge.base_url")
        self._client = EndpointClient(access, concurrency, timeout_s, patience_s, first_wait_s)
        self._model = model
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._options = RequestOptions()
        self._max_item_characters: int | None = None
        self._takes_some = False
        self._rejection: EndpointError | None = None

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self._model

    @property
    def prompts_at_a_time(self) -> int:
        """Several rounds of requests, so that a slow one doesn't idle the others."""
        return 4 * self._concurrency

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        """See `LanguageModel`. Raises EndpointError if the endpoint can't be used."""
        answers = dict(self.as_they_come(prompts, sampling))
        return [answers[position] for position in range(len(prompts))]

    def as_they_come(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        """See `LanguageModel`.

        Ctrl-C ends the requests that are under way; answers that are there are still given.

        Raises:
            EndpointError: the endpoint can't be used; raised after the answers that were on their
                way.
        """
        failure: BaseException | None = None
        with ThreadPoolExecutor(self._concurrency) as pool:
            asked = {pool.submit(self._ask, one, sampling): n for n, one in enumerate(prompts)}
            given: set[Future[Answer]] = set()
            try:
                for done in _as_they_end(asked):
                    given.add(done)
                    if done.cancelled():
                        continue
                    if error := done.exception():
                        self._end(pool)
                        failure = failure or error
                    else:
                        yield asked[done], done.result()
            except BaseException as interruption:
                self._end(pool)
                self._client.abort()
                if not isinstance(interruption, KeyboardInterrupt):
                    raise
                failure = interruption
            for late in _as_they_end(asked.keys() - given):
                if not late.cancelled() and late.exception() is None:
                    yield asked[late], late.result()
        if failure is not None:
            raise failure

    def _ask(self, prompt: Prompt, sampling: Sampling) -> Answer:
        """The endpoint's answer, in the form of question that it takes."""
        was_cut = False
        while True:
            options, limit = self._options, self._max_item_characters
            if limit is not None and len(prompt.item) > limit:
                prompt, was_cut = prompt.shortened(limit), True
            try:
                request = self._request(prompt, sampling, options)
                answer = self._client.post(request, read_completion)
            except NoChoices:
                return Answer("", 0, Flaw.EMPTY)
            except Garbled as garbled:
                raise self._client.error(f"its answer {garbled}") from None
            except RejectedRequest as rejected:
                flaw = self._flaw_of(rejected.problem, prompt, sampling, options)
                if flaw is not None:
                    return Answer("", 0, flaw, self._client.describe(rejected.problem))
            else:
                self._takes_some = True
                return replace(answer, was_cut=was_cut)

    def _request(
        self, prompt: Prompt, sampling: Sampling, options: RequestOptions
    ) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt.ask}]
        return {"model": self._model, "messages": messages, **options.values(sampling)}

    def _flaw_of(
        self, problem: EndpointProblem, prompt: Prompt, sampling: Sampling, options: RequestOptions
    ) -> Flaw | None:
        """Why a text can't be asked about; None where another form of question was found."""
        if problem.verdict is Verdict.FILTERED:
            return Flaw.FILTERED
        if problem.verdict is Verdict.TOO_LONG:
            return None if self._shortens(prompt) else Flaw.TOO_LONG
        if self._leaves_out(problem, options):
            return None
        self._find_form(problem, sampling)
        return None if self._options != options else Flaw.REJECTED

    def _shortens(self, prompt: Prompt) -> bool:
        n_characters = len(prompt.item)
        if n_characters <= MIN_ITEM_CHARACTERS:
            return False
        limit = max(n_characters // 2, MIN_ITEM_CHARACTERS)
        with self._lock:
            known = self._max_item_characters
            self._max_item_characters = limit if known is None else min(known, limit)
        return True

    def _leaves_out(self, problem: EndpointProblem, asked: RequestOptions) -> bool:
        """Whether the parameter that the endpoint rejects is left out from now on."""
        with self._lock:
            if self._options != asked:
                return True  # another thread's request found it out
            options = asked.without_rejected(problem)
            if options is not None:
                self._settle(options, problem)
            return options is not None

    def _find_form(self, problem: EndpointProblem, sampling: Sampling) -> None:
        """Find out once which parameters are taken, where the endpoint doesn't say.

        Raises:
            EndpointError: it rejects everything.
        """
        with self._lock:
            if self._rejection is not None:
                raise self._rejection
            if self._takes_some:
                return
            for options in (self._options, *self._options.simpler()):
                try:
                    self._client.post(self._request(_PROBE, sampling, options), read_completion)
                except RejectedRequest:
                    continue
                except Garbled as garbled:
                    raise self._client.error(f"its answer {garbled}") from None
                if options != self._options:
                    self._settle(options, problem)
                self._takes_some = True
                return
            self._rejection = self._client.error(problem)
            raise self._rejection

    def _settle(self, options: RequestOptions, problem: EndpointProblem) -> None:
        self._options = options
        sent = ", ".join(options.parameters) or "no parameters"
        announce(f"{self._client.error(problem)}; from now on it is sent {sent}")

    def _end(self, pool: ThreadPoolExecutor) -> None:
        """Start no further request, and wait for nothing but answers on their way."""
        self._client.end()
        pool.shutdown(wait=False, cancel_futures=True)


def _as_they_end(futures: Collection[Future[Answer]]) -> Iterator[Future[Answer]]:
    """Each future once it has ended; Ctrl-C is met while waiting."""
    left = set(futures)
    while left:
        ended, left = wait(left, timeout=_LOOKS_UP_S, return_when=FIRST_COMPLETED)
        yield from ended
