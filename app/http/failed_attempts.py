"""Limits wrong tokens by the address that they come from."""

from __future__ import annotations

import ipaddress
from collections import deque
from time import monotonic

MAX_FAILURES = 10
WINDOW_S = 60.0
# Of this many addresses failures are remembered; the one that failed longest ago is forgotten.
MAX_ADDRESSES = 10_000


class FailedAttempts:
    """Failures of the last minute, by network address; each process has its own."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[float]] = {}  # in the order of the last failure

    def wait_s(self, address: str) -> float:
        """How long an address must wait before it may try again; 0 if it may now."""
        failures = self._failures.get(network_of(address))
        if failures is None or len(failures) < MAX_FAILURES:
            return 0.0
        return max(0.0, failures[0] + WINDOW_S - monotonic())

    def add(self, address: str) -> None:
        """Count a failure."""
        network = network_of(address)
        failures = self._failures.pop(network, None) or deque(maxlen=MAX_FAILURES)
        failures.append(monotonic())
        self._failures[network] = failures
        if len(self._failures) > MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]


def network_of(address: str) -> str:
    """An IPv6 address without its last 64 bits, which its owner chooses; others as they are."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address  # of a Unix socket there is none
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
