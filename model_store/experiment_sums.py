"""What was counted of an experiment's users, as commands that read it, and the replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from model_store import keys
from model_store.experiment_counts import MOMENTS, N_SHARDS, Command, Scope


class Shards(NamedTuple):
    """What was counted where.

    Attributes:
        numbers: of the shards that hold something of the period.
        versions: that were counted in them.
        since_s: unix seconds of the first exposure; None: nothing was shown.
    """

    numbers: tuple[int, ...]
    versions: tuple[str, ...]
    since_s: int | None


def shards_commands(name: str) -> list[Command]:
    """Read which versions were counted; the replies are for `shards_of`."""
    asked = ("v", "since", "period")
    return [("HMGET", keys.experiment_key(name, shard), *asked) for shard in range(N_SHARDS)]


def shards_of(scope: Scope, replies: Sequence[Sequence[bytes | None]]) -> Shards:
    """Read the replies to `shards_commands`; shards of another period don't count."""
    numbers, versions, began = [], set[str](), []
    for number, (names, since, period) in enumerate(replies):
        if since is None or not since.isdigit() or (period or b"").decode() != scope.period:
            continue
        numbers.append(number)
        versions.update((names or b"").decode().split())
        began.append(int(since))
    return Shards(tuple(numbers), tuple(sorted(versions)), min(began, default=None))


def group_of(arm: str, version: str | None = None) -> str:
    """What the sums of an arm are called, or those of what a version answered in it."""
    return arm if version is None else f"{arm}@{version}"


def read_commands(
    name: str, groups: Sequence[str], shards: Iterable[int] = range(N_SHARDS)
) -> list[Command]:
    """Read the sums of groups; one reply for each shard, to be given to `sums_of`."""
    fields = [f"m{group}:{moment}" for group in groups for moment in MOMENTS]
    return [("HMGET", keys.experiment_key(name, shard), *fields) for shard in shards]


def sums_of(groups: Sequence[str], reply: Sequence[bytes | None]) -> dict[str, dict[str, bytes]]:
    """The sums of one shard by group and moment; those that were never counted are missing."""
    found: dict[str, dict[str, bytes]] = {}
    for place, group in enumerate(groups):
        values = reply[place * len(MOMENTS) : (place + 1) * len(MOMENTS)]
        named = zip(MOMENTS, values, strict=True)
        found[group] = {moment: value for moment, value in named if value is not None}
    return found
