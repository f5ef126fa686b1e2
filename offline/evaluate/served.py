"""Evaluation through a running service: `POST /recommend` for every test user."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from model_store.errors import InputError
from model_store.id_map import IdMap
from model_store.redaction import redact_urls, redacted
from offline.data.split import Cases, Int32
from offline.metrics import Ranks, hit_rate_at_k, ndcg_at_k
from offline.progress import track

_BEYOND = np.iinfo(np.int64).max
"""Rank of a target that isn't among the answer's items: the metrics only look at the first k."""


@dataclass(frozen=True)
class ServedFigures:
    """The figures of a service.

    Attributes:
        ranks: of each target in its answer, int64 [C]; very large where it isn't in it.
        versions: that answered.
        outcomes: number of answers by their `rerank`.
    """

    ranks: Ranks
    k: int
    versions: tuple[str, ...]
    outcomes: Mapping[str, int]

    @property
    def hit_rate(self) -> float:
        """HR@k."""
        return hit_rate_at_k(self.ranks, self.k)

    @property
    def ndcg(self) -> float:
        """NDCG@k."""
        return ndcg_at_k(self.ranks, self.k)

    @property
    def n_cases(self) -> int:
        """Number of cases C."""
        return len(self.ranks)


def evaluate_service(
    url: str,
    cases: Cases,
    user_ids: list[str],
    item_ids: IdMap,
    k: int = 10,
    rerank: str = "never",
    rps: float | None = None,
) -> ServedFigures:
    """HR@k and NDCG@k of a service.

    The history of each case is in the request, so the store's data (which hold the held-out
    interaction) play no part.

    Args:
        url: of the service.
        cases: to ask for.
        user_ids: of the users that cases name by position.
        item_ids: of the catalogue.
        k: number of items of an answer.
        rerank: never, auto or always; the recommender alone answers to `never`.
        rps: requests a second, at most; None: one as soon as the one before is answered.

    Raises:
        InputError: the service can't be reached, or answers a request with an error.
    """
    ranks = np.full(len(cases.targets), _BEYOND, dtype=np.int64)
    versions: set[str] = set()
    outcomes: Counter[str] = Counter()
    with _connect(url) as client:
        started_s = time.monotonic()
        for row in track(range(len(ranks)), f"asking {redacted(url)}", unit="users"):
            if rps is not None:
                time.sleep(max(0.0, started_s + row / rps - time.monotonic()))
            history = cases.history(row)
            request = _request(user_ids[cases.users[row]], history, cases.targets[row], item_ids, k)
            answer = _ask(client, request | {"rerank": rerank})
            versions.add(answer["model_version"])
            outcomes[answer["rerank"]] += 1
            shown = [item["item_id"] for item in answer["items"]]
            target = item_ids.id_of(int(cases.targets[row]))
            if target in shown:
                ranks[row] = shown.index(target) + 1
    return ServedFigures(ranks, k, tuple(sorted(versions)), outcomes)


def served_version(url: str) -> str:
    """The version that a service answers with.

    Raises:
        InputError: the service can't be reached or isn't ready.
    """
    try:
        response = httpx.get(f"{url.rstrip('/')}/health/ready", timeout=10.0)
        response.raise_for_status()
        return str(response.json()["version"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        raise InputError(
            f"--url {redacted(url)!r}: no ready service there ({redact_urls(str(error))})"
        ) from error


def _request(
    user_id: str, history: Int32, target: np.int32, item_ids: IdMap, k: int
) -> dict[str, Any]:
    past = [item_ids.id_of(int(index)) for index in history]
    request: dict[str, Any] = {"user_id": user_id, "history": past, "k": k}
    if target in history:
        # The target is always a candidate, even where the user has had it before.
        others = set(past) - {item_ids.id_of(int(target))}
        request |= {"exclude_seen": False, "exclude": sorted(others)}
    return request


def _connect(url: str) -> httpx.Client:
    try:
        return httpx.Client(base_url=url, timeout=30.0)
    except httpx.InvalidURL as error:
        raise InputError(f"--url {redacted(url)!r}: {redact_urls(str(error))}") from error


def _ask(client: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    service = redacted(str(client.base_url))
    try:
        response = client.post("/recommend", json=request)
    except httpx.HTTPError as error:
        raise InputError(f"{service}: {error}") from error
    if response.status_code != httpx.codes.OK:
        raise InputError(
            f"{service}: user {request['user_id']!r} was answered "
            f"{response.status_code}: {response.text[:200]}"
        )
    try:
        answer: dict[str, Any] = response.json()
    except ValueError:
        raise InputError(
            f"{service}: not a recommendation service; it answered {response.text[:60]!r}"
        ) from None
    return answer
