"""Commands as a cluster needs them: with the names that keys have there, and the slot of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar, cast

from model_store import keys

Command: TypeAlias = tuple[str | bytes | int, ...]
T = TypeVar("T")

_ALL_ARE_KEYS = frozenset(("DEL", "UNLINK", "WATCH", "MGET", "EXISTS"))
_SCRIPTS = frozenset(("EVALSHA", "EVAL"))
_WITHOUT_KEY = frozenset(("PING", "SCRIPT"))
_OTHERS = _ALL_ARE_KEYS | _SCRIPTS | _WITHOUT_KEY


def named(command: Sequence[T]) -> list[T]:
    """A command with its keys named as in a cluster.

    Names that are bytes stay: they were read from the cluster.
    """
    places: Sequence[int] = (1,)
    if command[0] in _SCRIPTS:
        places = range(3, 3 + int(cast(int, command[2])))
    elif command[0] in _ALL_ARE_KEYS:
        places = range(1, len(command))
    elif command[0] == "XREADGROUP":
        places = range(1 + command.index(cast(T, b"STREAMS")), len(command))
    found = list(command)
    for place in places:
        if place < len(found) and isinstance(name := found[place], str) and name[:3] == "lt:":
            found[place] = cast(T, keys.in_cluster(name)[0])
    return found


def routed(command: Command) -> tuple[Command, int | None]:
    """A command with its keys named as in a cluster, and their slot; None: it has no key."""
    name = command[0]
    if name in _OTHERS:
        if name in _WITHOUT_KEY:
            return command, None
        several = tuple(named(command))
        return several, keys.slot_of(str(several[3 if name in _SCRIPTS else 1]))
    key, slot = keys.in_cluster(str(command[1]))
    return (name, key, *command[2:]), slot
