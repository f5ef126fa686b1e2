"""Users by hash: the same user falls into the same bucket at every worker and at all times."""

from __future__ import annotations

from hashlib import blake2b

N_BUCKETS = 10_000
"""Percentages are exact to a hundredth."""


def bucket_of(who: str, salt: str) -> int:
    """A number below N_BUCKETS, the same for a user and a salt everywhere and at all times."""
    digest = blake2b(who.encode("utf-8", "replace"), digest_size=8, key=salt.encode()[:64])
    return int.from_bytes(digest.digest(), "big") % N_BUCKETS
