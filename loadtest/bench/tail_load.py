"""A load with tail users, sent once with reranking and once without, and the judge of its answers.

Both answers to a request are compared: one whose label denies reranking must have the items of the
other, in their order.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from loadtest.answers import find_recommend_fault
from loadtest.bench.bundles import BundleFiles
from loadtest.bench.overload import REJECTED
from loadtest.bench.plan import K
from loadtest.client import Load, encode_post
from loadtest.pacing import Arrivals
from loadtest.target import Address
from loadtest.workload import find_users_by_length

Mode = Literal["auto", "never"]
TAIL_SHARE = 0.3
# Of the tail users' requests: from somebody unknown, whose history was never ranked before.
NEW_SHARE = 0.5
N_CONNECTIONS = 64
RERANKED = ("fresh", "cached")
STEP = "rerank"  # its name in `degraded`
ROUNDING = 1e-5


@dataclass(frozen=True)
class Visit:
    """One request; `body` lacks the mode and the deadline."""

    is_tail: bool
    body: dict[str, object]


class Crowd:
    """Users of a bundle: tail users, stored or new, and all others.

    Args:
        files: of a bundle with a reranker.
        seed: of the draws.
    """

    def __init__(self, files: BundleFiles, seed: str) -> None:
        user_ids, lengths = find_users_by_length(files.folder, 0, files.n_users)
        limit = files.tail_interactions
        self._tails = [u for u, n in zip(user_ids, lengths, strict=True) if 0 < n <= limit]
        self._heads = [u for u, n in zip(user_ids, lengths, strict=True) if n > limit]
        self._item_ids, self._history_length = files.item_ids, limit
        self._rng = random.Random(seed)
        self._seed = seed
        self._n_new = 0

    def visits(self, n: int) -> list[Visit]:
        """The next n requests; new users are others in each call."""
        return [self._visit() for _ in range(n)]

    def _visit(self) -> Visit:
        if self._rng.random() >= TAIL_SHARE:
            return Visit(False, {"user_id": self._rng.choice(self._heads), "k": K})
        if self._rng.random() >= NEW_SHARE:
            return Visit(True, {"user_id": self._rng.choice(self._tails), "k": K})
        self._n_new += 1
        history = self._rng.sample(self._item_ids, self._history_length)
        user_id = f"new-{self._seed}-{self._n_new}"
        return Visit(True, {"user_id": user_id, "k": K, "history": history})


@dataclass
class Answers:
    """The answers to a list of visits, in the visits' order.

    latencies_ms: float64 [n], from the intended starts; NaN where no answer came. documents: None
    where the answer is no JSON object.
    """

    latencies_ms: npt.NDArray[np.float64]
    statuses: list[int]
    documents: list[dict[str, Any] | None]


def send(
    address: Address,
    visits: Sequence[Visit],
    starts_s: Sequence[float],
    mode: Mode,
    deadline_ms: int,
) -> Answers:
    """Send visits at their starts (open loop); answers are read after the clock has stopped."""
    extras = {"rerank": mode, "deadline_ms": deadline_ms}
    requests = [encode_post(address, "/recommend", visit.body | extras) for visit in visits]
    bodies: list[bytes] = []

    def keep(_status: int, _head: bytes, body: bytes) -> None:
        bodies.append(body)

    with Load(address, N_CONNECTIONS) as load:
        sample = load.keep_pace(requests, starts_s, keep)
    # Answers come in any order; a start is recorded as the sum that is computed here.
    number = {sample.begun_s + start_s: n for n, start_s in enumerate(starts_s)}
    answers = Answers(np.full(len(visits), np.nan), [0] * len(visits), [None] * len(visits))
    coming = iter(bodies)
    for start_s, status, latency_ms in zip(
        sample.starts, sample.statuses, sample.latencies, strict=True
    ):
        n = number[start_s]
        answers.statuses[n] = status
        if status:
            answers.latencies_ms[n] = latency_ms
            answers.documents[n] = _document(next(coming))
    return answers


def draw_starts(rate_rps: float, duration_s: float, seed: int) -> list[float]:
    """Intended starts, in seconds."""
    return list(Arrivals(rate_rps, duration_s, seed=seed).of_user(0))


@dataclass
class Verdict:
    """Counts over pairs of answers.

    outcomes: labels of tail users' answers. degraded: steps in `degraded`, of all answers.
    unmoved: answers labelled as reranked whose items are in the base order, which is rare but no
    fault. faults: kinds of wrong answers.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    unmoved: int = 0

    def judge(
        self, visits: Sequence[Visit], auto: Answers, never: Answers, *, may_rerank: bool
    ) -> None:
        """Judge the two answers to each visit.

        Args:
            visits: the requests.
            auto, never: their answers in both modes.
            may_rerank: whether there is anything that ranks at all.
        """
        for n, visit in enumerate(visits):
            sound = [self._note(visit, answers, n) for answers in (auto, never)]
            if not all(sound):
                continue
            given, base = auto.documents[n], never.documents[n]
            assert given is not None and base is not None  # noqa: S101, PT018 - they are sound
            if visit.is_tail:
                self.outcomes[given["rerank"]] += 1
            for fault in self._label_faults(visit, given, base, may_rerank):
                self.faults[fault] += 1

    def summary(self) -> dict[str, Any]:
        """All counts, ready for JSON."""
        return {
            "outcomes": dict(self.outcomes),
            "degraded": dict(self.degraded),
            "rejected": self.rejected,
            "unmoved": self.unmoved,
            "faults": dict(self.faults),
        }

    def _note(self, visit: Visit, answers: Answers, n: int) -> bool:
        """Note what can be said of one answer alone; whether it is complete."""
        document = answers.documents[n]
        if answers.statuses[n] == REJECTED:
            self.rejected += 1
            return False
        user_id = str(visit.body["user_id"])
        fault = (
            find_recommend_fault(answers.statuses[n], document, k=K, user_id=user_id)
            if answers.statuses[n]
            else "no answer"
        )
        if fault is not None or document is None:
            self.faults[fault or "not a document"] += 1
            return False
        self.degraded.update(document["degraded"])
        return True

    def _label_faults(
        self, visit: Visit, given: dict[str, Any], base: dict[str, Any], may_rerank: bool
    ) -> Iterator[str]:
        label, wants = given["rerank"], visit.is_tail
        if base["rerank"] != "skipped" or STEP in base["degraded"]:
            yield f"never is labelled {base['rerank']}, degraded {base['degraded']}"
        if set(given["degraded"]) - {STEP} or set(base["degraded"]) - {STEP}:
            return  # made of other data, such as no history
        if not wants and label != "skipped":
            yield f"a head user's answer is labelled {label}"
        if (STEP in given["degraded"]) != (wants and label == "skipped"):
            yield f"{label} with degraded {given['degraded']}"
        if label in RERANKED and not may_rerank:
            yield f"labelled {label}, where nothing ranks"
        is_base = _are_in_one_order(given, base)
        if label in RERANKED:
            self.unmoved += is_base
        elif not is_base:
            yield f"labelled {label}, and not in the base order"


def _are_in_one_order(given: dict[str, Any], base: dict[str, Any]) -> bool:
    """Whether two complete answers rank alike.

    A score differs by rounding with the number of requests in a batch, so items whose scores are
    equal but for that may have swapped ranks.
    """
    pairs = list(zip(given["items"], base["items"], strict=True))
    if all(one["item_id"] == other["item_id"] for one, other in pairs):
        return True
    scores = np.array([[one["score"], other["score"]] for one, other in pairs])
    return bool(np.allclose(scores[:, 0], scores[:, 1], rtol=ROUNDING, atol=ROUNDING))


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
