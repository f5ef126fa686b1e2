"""Evaluation through a running service: `POST /recommend` for every test user."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from model_store.bundle import Bundle
from model_store.deployments import DEFAULT
from model_store.errors import InputError
from model_store.id_map import IdMap
from model_store.redaction import redact_urls, redacted
from offline.data.split import Cases
from offline.evaluate.caller_key import caller_headers, hint
from offline.metrics import UNRANKED, Ranks, hit_rate_at_k, ndcg_at_k
from offline.progress import track

MAX_IDS = 10_000
"""Ids that the service takes in `history`, and as many in `exclude`."""
MAX_ID_BYTES = 750_000
"""For the ids of either; the service takes bodies of up to 2 MiB."""


@dataclass(frozen=True)
class ServedFigures:
    """The figures of a service.

    Attributes:
        ranks: of each target in its answer, int64 [C]; UNRANKED where it isn't in it.
        versions: that answered.
        outcomes: number of answers by their `rerank`.
        n_cut: requests that held only the newest part of a history, which was too long for them.
    """

    ranks: Ranks
    k: int
    versions: tuple[str, ...]
    outcomes: Mapping[str, int]
    n_cut: int = 0

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
    model: str = DEFAULT,
) -> ServedFigures:
    """HR@k and NDCG@k of a service.

    Requests are default ones: items of the history are left out. The history of each case is in its
    request, so the store's data (which hold the held-out interaction) play no part.

    Args:
        url: of the service.
        cases: to ask for.
        user_ids: of the users that cases name by position.
        item_ids: of the catalogue.
        k: number of items of an answer.
        rerank: never, auto or always; the recommender alone answers to `never`.
        rps: requests a second, at most; None: one as soon as the one before is answered.
        model: name under which the version is active.

    Raises:
        InputError: the service can't be reached, or answers a request with an error.
        ConfigError: the key in LONGTAIL_CALLER_KEY can't stand in a header.
    """
    ranks = np.full(len(cases.targets), UNRANKED, dtype=np.int64)
    versions: set[str] = set()
    outcomes: Counter[str] = Counter()
    n_cut = 0
    named = name_fields(model)
    with connect(url) as client:
        started_s = time.monotonic()
        for row in track(range(len(ranks)), f"asking {redacted(url)}", unit="users"):
            if rps is not None:
                time.sleep(max(0.0, started_s + row / rps - time.monotonic()))
            past = [item_ids.id_of(int(index)) for index in cases.history(row)]
            asked = history_fields(past)
            n_cut += len(asked["history"]) < len(past)
            asked |= {"user_id": user_ids[cases.users[row]], "k": k, "rerank": rerank, **named}
            answer = ask(client, "/recommend", asked)
            versions.add(answer["model_version"])
            outcomes[answer["rerank"]] += 1
            shown = [item["item_id"] for item in answer["items"]]
            target = item_ids.id_of(int(cases.targets[row]))
            if target in shown:
                ranks[row] = shown.index(target) + 1
    return ServedFigures(ranks, k, tuple(sorted(versions)), outcomes, n_cut)


def served_version(url: str, model: str = DEFAULT) -> str:
    """The version that a service answers with under a name.

    Raises:
        InputError: the service can't be reached or isn't ready, or no version is active under it.
    """
    try:
        response = httpx.get(f"{url.rstrip('/')}/health/ready", timeout=10.0)
        response.raise_for_status()
        ready = response.json()
        version = ready["version"] if model == DEFAULT else ready.get("names", {}).get(model)
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise InputError(
            f"--url {redacted(url)!r}: no ready service there ({redact_urls(str(error))})"
        ) from error
    if version is None:
        names = ", ".join(ready.get("names", [DEFAULT]))
        raise InputError(
            f"--model {model!r}: {redacted(url)} answers nothing under this name (names: {names})"
        )
    return str(version)


def check_held_out(bundle: Bundle) -> None:
    """Raises InputError if a bundle's model was trained on what its report holds out."""
    if bundle.manifest.configuration.get("refit"):
        raise InputError(
            f"{bundle.folder}: was refit on the held-out interactions, so asking for them "
            "measures nothing; build without --refit into another folder"
        )


def name_fields(model: str) -> dict[str, str]:
    """The field of a request that gives a name; releases before names know no such field."""
    return {} if model == DEFAULT else {"model": model}


def history_fields(past: Sequence[str]) -> dict[str, Any]:
    """The fields of a request that state a history, within the limits of the service.

    Of a history that is too long, `history` holds the newest part, and `exclude` the other items,
    the newest first: the model reads the newest part only, and an answer leaves all of them out.

    Args:
        past: item ids, oldest first.
    """
    newest = _fitting(reversed(past))[::-1]
    fields: dict[str, Any] = {"history": newest}
    if len(newest) < len(past):
        seen = set(newest)
        older = dict.fromkeys(reversed(past[: len(past) - len(newest)]))
        fields["exclude"] = _fitting(item_id for item_id in older if item_id not in seen)
    return fields


def _fitting(ids: Iterable[str]) -> list[str]:
    """The first of the ids, as many as a field of a request may hold."""
    fitting: list[str] = []
    n_bytes = 0
    for item_id in ids:
        n_bytes += len(json.dumps(item_id)) + 1
        if len(fitting) == MAX_IDS or n_bytes > MAX_ID_BYTES:
            break
        fitting.append(item_id)
    return fitting


def connect(url: str) -> httpx.Client:
    """A client of a service, with the caller's key; InputError if it is no URL."""
    try:
        return httpx.Client(base_url=url, timeout=30.0, headers=caller_headers())
    except httpx.InvalidURL as error:
        raise InputError(f"--url {redacted(url)!r}: {redact_urls(str(error))}") from error


def ask(client: httpx.Client, path: str, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request; InputError if it is an error, or none."""
    service = redacted(str(client.base_url))
    try:
        response = client.post(path, json=request)
    except httpx.HTTPError as error:
        raise InputError(f"{service}: {error}") from error
    if response.status_code != httpx.codes.OK:
        raise InputError(
            f"{service}: user {request['user_id']!r} was answered "
            f"{response.status_code}: {response.text[:200]}{hint(response.status_code)}"
        )
    answer: Any = None
    with contextlib.suppress(ValueError):
        answer = response.json()
    if not isinstance(answer, dict) or "model_version" not in answer:
        raise InputError(
            f"{service}: not a recommendation service; it answered {response.text[:60]!r}"
        )
    return answer
