"""The share of the exact best items that a service returns, independent of its search.

Exact answers are computed here, from the bundle's item table: a score is the product of an item's
row and the vector of the user. The service doesn't return vectors, but scores of a thousand named
items are a thousand equations for the 64 numbers of one. Equations without a solution are noticed,
and so is a vector that ranks differently from the bundle's golden requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.api import ask
from loadtest.bench.bundles import BundleFiles
from loadtest.errors import TargetError
from loadtest.target import Address

N_PROBES = 1_000
MAX_RESIDUAL = 1e-3  # of a score, as a share of the scores' range: more is no product of vectors
TIE_SHARE = 1e-4  # scores closer than this share of the range are the same
CHUNK_ROWS = 1 << 18

Vectors = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Question:
    """One request: the items of its history, and its other fields."""

    history: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    extras: Mapping[str, object] = field(default_factory=dict)

    def body(self, k: int) -> dict[str, object]:
        """The request."""
        body: dict[str, object] = {"history": list(self.history), "k": k, **self.extras}
        return body | ({"exclude": list(self.excluded)} if self.excluded else {})


class Judge:
    """Recovers the user vectors of some histories, and judges answers by exact scores.

    Raises:
        TargetError: the service's scores aren't products of the item table with one vector.
    """

    def __init__(
        self, address: Address, files: BundleFiles, histories: Sequence[tuple[str, ...]]
    ) -> None:
        self._address = address
        self._files = files
        table = files.table
        rng = np.random.default_rng(0)
        n_probes = min(N_PROBES, len(table) - 1)
        probes = np.sort(rng.choice(np.arange(1, len(table)), n_probes, replace=False))
        item_ids = files.item_ids
        self._probe_ids = [item_ids[row - 1] for row in probes]
        self._probe_position = {item_id: at for at, item_id in enumerate(self._probe_ids)}
        self._probe_rows = np.asarray(table[probes], dtype=np.float64)
        found = [self._recover(history) for history in histories]
        vectors = (vector for vector, _ in found)
        self._vectors = dict(zip(histories, vectors, strict=True))
        self._score_range = max(score_range for _, score_range in found)

    def _recover(self, history: tuple[str, ...]) -> tuple[Vectors, float]:
        """The user vector, float64 [D], and the range of the scores it was found from."""
        body = {"history": list(history), "candidates": self._probe_ids}
        answer = self._ask(body | {"k": len(self._probe_ids), "exclude_seen": False})
        positions = [self._probe_position[item["item_id"]] for item in answer]
        scores = np.array([item["score"] for item in answer], dtype=np.float64)
        rows = self._probe_rows[positions]
        vector: Vectors = np.linalg.lstsq(rows, scores, rcond=None)[0].astype(np.float64)
        score_range = float(np.ptp(scores))
        residual = float(np.abs(rows @ vector - scores).max())
        if residual > MAX_RESIDUAL * score_range:
            raise TargetError(
                f"{self._address.url}: scores are no products of item rows with one vector "
                f"(off by {residual:.2g} in a range of {score_range:.2g}): recall is unknown"
            )
        return vector, score_range

    def top_items(self, history: tuple[str, ...], k: int) -> tuple[str, ...]:
        """The service's own answer for a history, without the seen items."""
        return tuple(item["item_id"] for item in self._ask({"history": list(history), "k": k}))

    def recall(
        self, questions: Sequence[Question], k: int, allowed: Rows | None = None
    ) -> tuple[float, int]:
        """Share of the exact top k that the service returns, and how often it returned fewer.

        `allowed` are the item_indices that the questions' filters leave, None for all. An item
        that scores like the k-th best counts as one of the best.
        """
        answers = [[item["item_id"] for item in self._ask(q.body(k))] for q in questions]
        named = {item_id for q in questions for item_id in (*q.history, *q.excluded)}
        rows = self._files.rows_of(named.union(*answers))
        excluded_rows = [
            np.array([rows[i] for i in (*q.history, *q.excluded) if i in rows], dtype=np.int64)
            for q in questions
        ]
        vectors = np.array([self._vectors[q.history] for q in questions])
        least = exact_kth_scores(self._files.table, vectors, excluded_rows, k, allowed)
        n_right = 0
        members = None if allowed is None else set(allowed.tolist())
        for number, answer in enumerate(answers):
            forbidden = set(excluded_rows[number].tolist())
            for item_id in answer:
                row = rows[item_id]
                if row in forbidden or (members is not None and row not in members):
                    raise TargetError(f"{self._address.url}: {item_id} was excluded but returned")
                score = float(self._files.table[row].astype(np.float64) @ vectors[number])
                n_right += score >= least[number] - TIE_SHARE * self._score_range
        n_short = sum(len(answer) < k for answer in answers)
        return n_right / (k * len(questions)), n_short

    def agrees_with_golden(self, golden: Sequence[Mapping[str, Any]]) -> bool:
        """Whether vectors found this way give the scores of the bundle's golden answers."""
        rows = self._files.rows_of({item_id for entry in golden for item_id in entry["item_ids"]})
        for entry in golden:
            vector, score_range = self._recover(tuple(entry["history"]))
            table_rows = self._files.table[[rows[item_id] for item_id in entry["item_ids"]]]
            scores = table_rows.astype(np.float64) @ vector
            if np.abs(scores - entry["scores"]).max() > MAX_RESIDUAL * score_range:
                return False
        return True

    def _ask(self, body: Mapping[str, object]) -> list[dict[str, Any]]:
        status, answer = ask(self._address, "POST", "/recommend", body, timeout_s=60.0)
        if status != 200 or not isinstance(answer, dict):
            raise TargetError(f"{self._address.url}: POST /recommend answers {status}")
        items: list[dict[str, Any]] = answer["items"]
        return items


def exact_kth_scores(
    table: npt.NDArray[np.float32],
    vectors: Vectors,
    excluded_rows: Sequence[Rows],
    k: int,
    allowed: Rows | None = None,
) -> Vectors:
    """The k-th best exact score for each of Q vectors, float64 [Q], over rows 1 … N of a table.

    -inf where fewer than k rows are left. `excluded_rows` holds the excluded rows of each vector.
    """
    best = np.full((len(vectors), k), -np.inf)
    queries = vectors.astype(np.float32)
    for start in range(1, len(table), CHUNK_ROWS):
        end = min(start + CHUNK_ROWS, len(table))
        scores = queries @ np.asarray(table[start:end]).T
        if allowed is not None:
            outside = np.ones(end - start, dtype=np.bool_)
            outside[allowed[(allowed >= start) & (allowed < end)] - start] = False
            scores[:, outside] = -np.inf
        for number, rows in enumerate(excluded_rows):
            scores[number, rows[(rows >= start) & (rows < end)] - start] = -np.inf
        if scores.shape[1] > k:
            scores = np.partition(scores, scores.shape[1] - k, axis=1)[:, -k:]
        both = np.concatenate((best, scores), axis=1)
        best = np.partition(both, both.shape[1] - k, axis=1)[:, -k:]
    found: Vectors = best.min(axis=1)
    return found
