"""Which node of a cluster answers for which slot, as its nodes say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from model_store import keys
from model_store.errors import StoreError

Host = tuple[str, int]
_PROBE_KEYS = 200_000
"""A node with one slot of all has one of so many names, but for one time in hundred thousand."""


@dataclass(frozen=True)
class SlotMap:
    """The primaries and their slots.

    Attributes:
        owners: host and port of the primary of each slot; None: none has it.
        hosts: all nodes, replicas too.
        epoch: of the node that says so; a larger one knows of later failovers.
    """

    owners: tuple[Host | None, ...] = (None,) * keys.N_SLOTS
    hosts: frozenset[Host] = field(default_factory=frozenset)
    epoch: int = -1

    @property
    def primaries(self) -> frozenset[Host]:
        """The nodes that answer for a slot."""
        return frozenset(owner for owner in set(self.owners) if owner is not None)

    @property
    def n_missing(self) -> int:
        """Slots that no node answers for."""
        return self.owners.count(None)

    def moved_since(self, before: SlotMap) -> set[int]:
        """Slots that another node took over.

        Not those that a node handed over and is still a primary: they moved with all they had.
        """
        primaries = self.primaries
        pairs = zip(before.owners, self.owners, strict=True)
        return {
            slot
            for slot, (old, new) in enumerate(pairs)
            if new is not None and old != new and old is not None and old not in primaries
        }

    def probe_keys(self) -> dict[Host, str]:
        """A key of each primary's, by which it is tried; as it is named in the cluster."""
        found: dict[Host, str] = {}
        left = self.primaries
        for name in islice(keys.probe_names(), _PROBE_KEYS):
            owner = self.owners[keys.slot_of(name)]
            if owner is not None and found.setdefault(owner, name) == name:
                left -= {owner}
                if not left:
                    break
        return found


def read_slot_map(slots: Any, info: Any, asked: Host) -> SlotMap:
    """The map in the replies to CLUSTER SLOTS and CLUSTER INFO.

    Args:
        slots, info: the replies.
        asked: the node that gave them: it names no host for itself where it doesn't know its own.

    Raises:
        StoreError: it is no node of a cluster, or doesn't let this user ask.
    """
    for reply in (slots, info):
        if isinstance(reply, Exception):
            raise StoreError(f"node {asked[0]}:{asked[1]}: {reply}")
    owners: list[Host | None] = [None] * keys.N_SLOTS
    hosts: set[Host] = set()
    for first, last, *nodes in slots:
        found = [_host(node, asked[0]) for node in nodes]
        hosts.update(found)
        owners[first : last + 1] = [found[0]] * (last + 1 - first)
    return SlotMap(tuple(owners), frozenset(hosts), _epoch(bytes(info)))


def _host(node: Sequence[Any], asked: str) -> Host:
    name = node[0].decode() if node[0] else ""
    return (name if name not in ("", "?") else asked), int(node[1])


def _epoch(info: bytes) -> int:
    for line in info.splitlines():
        name, _, value = line.partition(b":")
        if name == b"cluster_current_epoch":
            return int(value)
    return 0


def redirection(line: str) -> Host:
    """The node that a MOVED or ASK reply names: `MOVED 3999 10.0.0.2:6379`."""
    host, _, port = line.split()[2].rpartition(":")
    return host.strip("[]"), int(port)
