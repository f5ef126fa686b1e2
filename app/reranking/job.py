"""A question to the reranker and its answer, as workers see them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from model_store.errors import LongtailError

Scores: TypeAlias = npt.NDArray[np.float32]
_LARGEST = float(np.finfo(np.float32).max)


class RerankError(LongtailError):
    """The reranker gave no usable answer; the message is one line without secrets."""


@dataclass(frozen=True)
class Job:
    """Candidates to be scored for one user.

    version: whose bundle knows the items. user_id: None for a user without one; never chosen as the
    similar user. history: item_indices, oldest → newest. candidates: item_indices in the
    recommender's order, at most `n_candidates` of the bundle's prompt layout.
    """

    version: str
    user_id: str | None
    history: tuple[int, ...]
    candidates: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Answer:
    """The language model's scores.

    scores: float32 [k'], finite, one for each candidate in the recommender's order; higher is
    better. similar_user: external id of the user whose history stood in the prompt, if any.
    """

    scores: Scores
    similar_user: str | None


def is_score(value: object) -> TypeGuard[float]:
    """Whether a value from a JSON document is a number that float32 can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST


class Reranker(Protocol):
    """Scores candidates in another process; `RerankClient` is the one in use.

    No call sets a time limit of its own, and none blocks the event loop.
    """

    async def load(self, version: str, folder: Path) -> None:
        """Have a version's reranker loaded, now and again after the process was replaced.

        Returns when it is ready, however long that takes. At most two versions stay loaded.

        Raises:
            RerankError: the version has no usable reranker, or the client was closed.
        """

    def is_ready(self, version: str) -> bool:
        """Whether `ask` can be answered for this version."""

    def is_loading(self, version: str) -> bool:
        """Whether a version is being loaded for the first time."""

    async def loaded(self, version: str) -> None:
        """Wait until a version that `is_loading` is ready.

        Raises:
            RerankError: it has no usable reranker, or is not to be loaded any more.
        """

    async def ask(self, job: Job) -> Answer:
        """Scores of a job's candidates.

        Raises:
            RerankError: there is none, for any reason.
        """

    def forget(self, digests: Collection[bytes]) -> None:
        """Never again put users into a prompt, nor name them in an answer.

        Args:
            digests: of the users, `forgotten.digest_of_user`.
        """

    async def close(self) -> None:
        """End the connection; whatever is under way ends with a RerankError."""
