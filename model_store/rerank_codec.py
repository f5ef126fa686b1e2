"""The reranker's answers as they lie in the store's cache: binary, little-endian.

answer   b"R1" | uint8 k' | uint8 1 where a similar user follows | uint32 unix seconds
         | float32 scores [k'] | the similar user's id, UTF-8
digest   16 bytes of BLAKE2b over everything that the answer depends on
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.errors import StoreError

DIGEST_BYTES = 16
_HEADER = struct.Struct("<2sBBI")
_MAGIC = b"R1"


@dataclass(frozen=True, eq=False)
class CachedAnswer:
    """Scores of candidates, float32 [k'], in the recommender's order, and how they came about.

    `written_s` is when they were computed, in whole unix seconds.
    """

    scores: npt.NDArray[np.float32]
    similar_user: str | None
    written_s: int


def encode_answer(answer: CachedAnswer) -> bytes:
    """An answer as one blob, 8 bytes and 4 a candidate."""
    similar = None if answer.similar_user is None else answer.similar_user.encode()
    return b"".join(
        (
            _HEADER.pack(_MAGIC, len(answer.scores), similar is not None, answer.written_s),
            np.ascontiguousarray(answer.scores, dtype="<f4").tobytes(),
            similar or b"",
        )
    )


def decode_answer(blob: bytes) -> CachedAnswer:
    """Read what `encode_answer` wrote.

    Raises:
        StoreError: the blob is cut short, of another format, or holds NaN or infinity.
    """
    if len(blob) < _HEADER.size:
        raise StoreError(f"answer of {len(blob)} bytes is cut short")
    magic, n_candidates, has_similar, written_s = _HEADER.unpack_from(blob)
    end = _HEADER.size + 4 * n_candidates
    has_rest = len(blob) > end
    if magic != _MAGIC or len(blob) < end or has_similar > 1 or (has_rest and not has_similar):
        raise StoreError(f"answer of {len(blob)} bytes has an unknown format")
    scores = np.frombuffer(blob, dtype="<f4", count=n_candidates, offset=_HEADER.size)
    if not np.isfinite(scores).all():
        raise StoreError("answer holds NaN or infinity")
    try:
        similar = blob[end:].decode() if has_similar else None
    except UnicodeDecodeError as error:
        raise StoreError("answer holds a user id that is not UTF-8") from error
    return CachedAnswer(scores, similar, written_s)


def digest_of(version: str, history: Sequence[int], candidates: Sequence[int]) -> bytes:
    """The digest of a job: equal jobs have equal answers.

    Args:
        version: whose item indices the others are.
        history: item_indices, oldest → newest, as far as the reranker reads them.
        candidates: item_indices in the recommender's order.
    """
    numbers = (len(history), *history, *candidates)
    content = version.encode() + b"\0" + struct.pack(f"<{len(numbers)}i", *numbers)
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
