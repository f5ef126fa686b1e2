"""The optional parameters of a chat request, as far as an endpoint takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from model_store.endpoint_problem import EndpointProblem
from offline.knowledge.language_model import Sampling

_LIMITS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class RequestOptions:
    """Which parameters are sent.

    Attributes:
        limit: name of the one that limits the answer's length; None: none is sent.
        names: of the others.
        stream: whether the answer is asked for in pieces, which some models give alone.
    """

    limit: str | None = _LIMITS[0]
    names: tuple[str, ...] = ("temperature", "seed")
    stream: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of all."""
        limit = (self.limit,) if self.limit else ()
        return (*limit, *self.names, *(("stream",) if self.stream else ()))

    def values(self, sampling: Sampling) -> dict[str, Any]:
        """The parameters for a request."""
        limit = {self.limit: sampling.max_new_tokens} if self.limit else {}
        values = {**limit, **{name: getattr(sampling, name) for name in self.names}}
        return values | {"stream": True} if self.stream else values

    def without_rejected(self, problem: EndpointProblem) -> RequestOptions | None:
        """As these, without what a problem names; None if it names none of them.

        One that names the parameter `stream`, which isn't sent at first, asks for it.
        """
        if self.limit and problem.names(self.limit):
            return replace(self, limit=_other_limit(self.limit))
        if not self.stream and problem.names("stream"):
            return replace(self, stream=True)
        kept = tuple(name for name in self.names if not problem.names(name))
        return replace(self, names=kept) if kept != self.names else None

    def simpler(self) -> Iterator[RequestOptions]:
        """Ever fewer, for an endpoint that doesn't say which of them it rejects."""
        options = self
        for name in reversed(self.names):
            options = replace(options, names=tuple(one for one in options.names if one != name))
            yield options
        while options.limit:
            options = replace(options, limit=_other_limit(options.limit))
            yield options


def _other_limit(limit: str) -> str | None:
    return _LIMITS[1] if limit == _LIMITS[0] else None
