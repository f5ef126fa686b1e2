"""Evaluation through a running service: `POST /recommend` for every test user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from model_store.errors import InputError
from model_store.id_map import IdMap
from model_store.redaction import redact_urls, redacted
from offline.data.split import Cases, Int32
from offline.metrics import hit_rate_at_k, ndcg_at_k
from offline.progress import track

_BEYOND = np.iinfo(np.int64).max
"""Rank of a target that isn't among the answer's items: the metrics only look at the first k."""


@dataclass(frozen=True)
class ServedFigures:
    """The figures of a service, and the versions that answered."""

    hit_rate: float
    ndcg: float
    n_cases: int
    versions: tuple[str, ...]


def evaluate_service(
    url: str, cases: Cases, user_ids: list[str], item_ids: IdMap, k: int = 10
) -> ServedFigures:
    """HR@k and NDCG@k of a service.

    The history of each case is in the request, so the store's data (which hold the held-out
    interaction) play no part.

    Raises:
        InputError: the service can't be reached, or answers a request with an error.
    """
    ranks = np.full(len(cases.targets), _BEYOND, dtype=np.int64)
    versions: set[str] = set()
    with _connect(url) as client:
        for row in track(range(len(ranks)), f"asking {redacted(url)}", unit="users"):
            history = cases.history(row)
            request = _request(user_ids[cases.users[row]], history, cases.targets[row], item_ids, k)
            answer = _ask(client, request)
            versions.add(answer["model_version"])
            shown = [item["item_id"] for item in answer["items"]]
            target = item_ids.id_of(int(cases.targets[row]))
            if target in shown:
                ranks[row] = shown.index(target) + 1
    return ServedFigures(
        hit_rate_at_k(ranks, k), ndcg_at_k(ranks, k), len(ranks), tuple(sorted(versions))
    )


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
