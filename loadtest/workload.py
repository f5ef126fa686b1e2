"""The users, items and histories that requests are drawn from, in one small file.

    python -m loadtest.workload --bundle model_store/bundles/VERSION --out workload.json
    python -m loadtest.workload --url http://127.0.0.1:8000 --out workload.json

A bundle holds real sessions. A running service doesn't return them: items are then gathered from
its answers, and histories are walks over similar items, of realistic lengths.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from loadtest.api import ask, version_of, wait_until_ready
from loadtest.caller_key import caller_headers, hint
from loadtest.errors import LoadTestError, TargetError, WorkloadError
from loadtest.target import Address, parse_target

MAX_USERS = 5_000
MAX_ITEMS = 5_000
MAX_HISTORIES = 1_000
MAX_HISTORY_LENGTH = 200
SESSION_GAP_S = 30 * 60.0  # the usual gap between two visits
TYPICAL_SESSION_LENGTH = 8  # mean of synthetic sessions


@dataclass(frozen=True)
class Workload:
    """The source of requests; items are in order of popularity, most popular first."""

    source: str
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    histories: tuple[tuple[str, ...], ...]  # oldest → newest

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            WorkloadError: the file isn't a workload.
        """
        try:
            found = json.loads(path.read_bytes())
            workload = cls(
                source=str(found["source"]),
                user_ids=_texts(found["user_ids"]),
                item_ids=_texts(found["item_ids"]),
                histories=tuple(_texts(history) for history in found["histories"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkloadError(f"{path}: not a readable workload ({error})") from error
        if not workload.item_ids:
            raise WorkloadError(f"{path}: the workload has no items")
        return workload


class Draws:
    """Seeded draws from a workload; popular users and items come up more often (Zipf)."""

    # Item popularity in logs is close to 1/rank; visits by user are less skewed.
    ITEM_EXPONENT = 1.0
    USER_EXPONENT = 0.6

    def __init__(self, workload: Workload, seed: int | str) -> None:
        self._workload = workload
        self._rng = random.Random(f"draws:{seed}")
        self._user_weights = _zipf_weights(len(workload.user_ids), self.USER_EXPONENT)
        self._item_weights = _zipf_weights(len(workload.item_ids), self.ITEM_EXPONENT)

    def user_id(self) -> str:
        """A user with a stored history."""
        return self._rng.choices(self._workload.user_ids, cum_weights=self._user_weights)[0]

    def item_id(self) -> str:
        """An item, popular ones more often."""
        return self._rng.choices(self._workload.item_ids, cum_weights=self._item_weights)[0]

    def history(self) -> list[str]:
        """A session as it stands at some moment: a history up to a random point, never empty."""
        history = self._rng.choice(self._workload.histories)
        return list(history[: self._rng.randint(1, len(history))])

    def happens_with(self, share: float) -> bool:
        """True in a share of the draws."""
        return self._rng.random() < share

    def session_length(self) -> int:
        """Number of steps of a visit, at least 1."""
        return draw_session_length(self._rng)


def draw_session_length(rng: random.Random) -> int:
    """A length with a geometric distribution of mean TYPICAL_SESSION_LENGTH, from 1 to 50."""
    length = 1
    while length < 50 and rng.random() > 1 / TYPICAL_SESSION_LENGTH:
        length += 1
    return length


def read_bundle_workload(folder: Path, *, seed: int = 0) -> Workload:
    """The workload of a bundle's own users: their ids, popular items, their last sessions.

    Reads the bundle's plain files only (JSON, and `.npy` without pickles).

    Raises:
        WorkloadError: the folder doesn't hold these files.
    """
    try:
        item_ids = _texts(json.loads((folder / "item_ids.json").read_bytes()))
        user_ids = _texts(json.loads((folder / "user_ids.json").read_bytes()))
        popularity, offsets, items, timestamps = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("popularity", "user_offsets", "user_items", "user_timestamps")
        )
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise WorkloadError(f"{folder}: no workload can be read from it ({error})") from error
    rng = random.Random(f"bundle:{seed}")
    with_history = np.flatnonzero(np.diff(offsets) > 0).tolist()
    rng.shuffle(with_history)
    histories = []
    for user in with_history[:MAX_HISTORIES]:
        rows = slice(int(offsets[user]), int(offsets[user + 1]))
        session = _last_session(items[rows], timestamps[rows])
        histories.append(tuple(item_ids[index - 1] for index in session.tolist()))
    by_popularity = np.argsort(-np.asarray(popularity[1:]), kind="stable")[:MAX_ITEMS]
    return Workload(
        source=f"bundle {folder.name}",
        user_ids=tuple(user_ids[user] for user in with_history[:MAX_USERS]),
        item_ids=tuple(item_ids[row] for row in by_popularity.tolist()),
        histories=tuple(histories),
    )


def find_users_by_length(folder: Path, length: int, n: int) -> tuple[list[str], list[int]]:
    """The n users of a bundle whose stored histories come closest to a length, and the lengths.

    Raises:
        WorkloadError: the folder doesn't hold these files, or no user has a history.
    """
    try:
        user_ids = _texts(json.loads((folder / "user_ids.json").read_bytes()))
        offsets = np.load(folder / "user_offsets.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise WorkloadError(f"{folder}: no users can be read from it ({error})") from error
    lengths = np.diff(offsets)
    nearest = np.argsort(np.abs(lengths - length), kind="stable")[:n]
    chosen = [int(user) for user in nearest if lengths[user] > 0]
    if not chosen:
        raise WorkloadError(f"{folder}: no user has a stored history")
    return [user_ids[user] for user in chosen], [int(lengths[user]) for user in chosen]


def read_histories(folder: Path, user_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The stored histories of some users of a bundle, as item ids, oldest → newest.

    Raises:
        WorkloadError: the folder doesn't hold these files or users.
    """
    try:
        item_ids = _texts(json.loads((folder / "item_ids.json").read_bytes()))
        known = _texts(json.loads((folder / "user_ids.json").read_bytes()))
        offsets, items = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("user_offsets", "user_items")
        )
        rows = {user_id: row for row, user_id in enumerate(known)}
        return {
            user_id: tuple(
                item_ids[index - 1]
                for index in items[offsets[rows[user_id]] : offsets[rows[user_id] + 1]].tolist()
            )
            for user_id in user_ids
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WorkloadError(f"{folder}: no histories can be read from it ({error})") from error


def gather_service_workload(
    address: Address,
    user_ids: Sequence[str] = (),
    *,
    max_items: int = 500,
    n_histories: int = 200,
    seed: int = 0,
) -> Workload:
    """A workload from a service's answers; at most a few hundred requests, one after another.

    Keeps those of `user_ids` that the service knows (it answers them from its model).

    Raises:
        TargetError: the service isn't ready, or its answers break the contract.
    """
    ready = wait_until_ready(address)
    rng = random.Random(f"service:{seed}")
    item_ids = _recommended(address, {"user_id": "loadtest-nobody", "k": 100})[1]
    found, known = dict.fromkeys(item_ids), []
    for user_id in list(dict.fromkeys(user_ids))[:MAX_USERS]:
        served_by, recommended = _recommended(address, {"user_id": user_id, "k": 10})
        if served_by in ("model", "direct", "rating"):
            known.append(user_id)
            found.update(dict.fromkeys(recommended))
    similar = {}
    for item_id in list(found)[: max_items // 5]:
        similar[item_id] = _similar(address, item_id)
        found.update(dict.fromkeys(similar[item_id]))
    histories = [_walk(similar, rng) for _ in range(n_histories)]
    return Workload(
        source=f"service, version {version_of(ready)}",
        user_ids=tuple(known),
        item_ids=tuple(found)[:max_items],
        histories=tuple(histories),
    )


def _recommended(address: Address, body: dict[str, object]) -> tuple[str, list[str]]:
    status, answer = ask(address, "POST", "/recommend", body, headers=caller_headers())
    if status != 200 or not isinstance(answer, dict):
        raise TargetError(
            f"{address.url}: POST /recommend answers {status} to {body}{hint(status)}"
        )
    return str(answer.get("served_by")), _items_of(answer, f"{address.url}: POST /recommend")


def _items_of(answer: Mapping[str, Any], what: str) -> list[str]:
    try:
        return [item["item_id"] for item in answer["items"]]
    except (KeyError, TypeError):
        raise TargetError(f"{what} answers without items; is Longtail there?") from None


def _similar(address: Address, item_id: str) -> list[str]:
    path = f"/items/{quote(item_id, safe='')}/similar"
    status, answer = ask(address, "GET", path, headers=caller_headers())
    if status != 200 or not isinstance(answer, dict):
        raise TargetError(f"{address.url}: GET /items/{item_id}/similar answers {status}")
    return _items_of(answer, f"{address.url}: GET /items/{item_id}/similar")


def _walk(similar: dict[str, list[str]], rng: random.Random) -> tuple[str, ...]:
    """A synthetic session: from item to similar item, sometimes to a random one."""
    starts = list(similar)
    walk = [rng.choice(starts)]
    for _ in range(draw_session_length(rng) - 1):
        nearby = similar.get(walk[-1])
        walk.append(rng.choice(nearby) if nearby and rng.random() > 0.1 else rng.choice(starts))
    return tuple(walk)


def _last_session(
    items: npt.NDArray[np.int32], timestamps: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """The items since the last long pause, at most MAX_HISTORY_LENGTH of them."""
    pauses = np.flatnonzero(np.diff(timestamps) > SESSION_GAP_S)
    return items[(int(pauses[-1]) + 1 if len(pauses) else 0) :][-MAX_HISTORY_LENGTH:]


def _zipf_weights(n: int, exponent: float) -> list[float]:
    return list(accumulate(1.0 / rank**exponent for rank in range(1, n + 1)))


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("expected a list of texts")
    return tuple(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a workload file."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.workload", description="Write the workload file of a load test."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bundle", type=Path, metavar="FOLDER", help="read a bundle's files")
    source.add_argument("--url", help="ask a running service (base URL)")
    parser.add_argument(
        "--users",
        type=Path,
        metavar="FILE",
        help="with --url: user ids to try, one a line (without it: 1 to 200)",
    )
    parser.add_argument("--i-own-this-host", action="store_true", help="allow another machine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        if options.bundle:
            workload = read_bundle_workload(options.bundle, seed=options.seed)
        else:
            address = parse_target(options.url, owned=options.i_own_this_host)
            users = options.users.read_text().split("\n") if options.users else GUESSED_USERS
            workload = gather_service_workload(
                address, [user.strip() for user in users if user.strip()], seed=options.seed
            )
        workload.save(options.out)
    except (LoadTestError, OSError, UnicodeDecodeError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 1
    print(
        f"{options.out}: {len(workload.user_ids)} users, {len(workload.item_ids)} items, "
        f"{len(workload.histories)} histories, from {workload.source}"
    )
    return 0


# Public data sets number their users; for others, use --users or --bundle.
GUESSED_USERS = [str(number) for number in range(1, 201)]


if __name__ == "__main__":
    sys.exit(main())
