"""Looks up many item ids at once, faster than a dictionary of millions.

Each look-up in a large dictionary reads memory that is in no cache: the slot, the entry, the key
and the number, one after the other, for one id after the other. Here all ids of a request take each
step together, in arrays, so the processor waits for many of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

WORD_BYTES = 8
# Ids are compared word by word. The mask of a word in which 0 … 8 bytes belong to the id:
OWN_BYTES = np.array([(1 << (8 * n)) - 1 for n in range(WORD_BYTES + 1)], dtype=np.uint64)
MAX_BYTES = 64
# An id whose bucket is full is left to the dictionary; with a good hash that is none.
MAX_IN_BUCKET = 16
# The constants of splitmix64 (Steele, Lea and Flood, 2014).
GOLDEN, MIX, SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(31)


@dataclass(frozen=True)
class Layout:
    """Ids in UTF-8, each followed by a zero byte.

    Attributes:
        text: uint8.
        begins: offset of each id, int64 [N].
        lengths: bytes of each id, int64 [N].
    """

    text: Bytes
    begins: Positions
    lengths: Positions

    @classmethod
    def of(cls, ids: Sequence[str]) -> Self | None:
        """None where an id itself holds a zero byte."""
        joined = "\0".join(ids) + "\0" * (1 + WORD_BYTES)
        text = np.frombuffer(joined.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        ends = np.flatnonzero(text[:-WORD_BYTES] == 0)
        if len(ends) != len(ids):
            return None
        begins = np.zeros_like(ends)
        np.add(ends[:-1], 1, out=begins[1:])
        return cls(text, begins, ends - begins)


@dataclass(frozen=True)
class IdTable:
    """Item indices by the bytes of the ids.

    A found index is right: an id is compared byte by byte with the one of its hash. The table
    need not hold all ids: very long ones, those that share a hash, and those that don't fit into
    their bucket are left out.

    Attributes:
        text: uint8, all ids in UTF-8, each followed by a zero byte.
        begins: uint32, or int64 where that is too small, [N]; offset of each id.
        hashes: uint64, sorted.
        indices: int32, the item_index of each hash.
        buckets: int32; where the hashes with the same first bits begin.
        width: hashes in the fullest bucket, at most MAX_IN_BUCKET.
        n_words: words of the longest id.
    """

    text: Bytes
    begins: Positions | npt.NDArray[np.uint32]
    hashes: Words
    indices: Indices
    buckets: Indices
    width: int
    n_words: int

    @classmethod
    def of(cls, ids: Sequence[str]) -> Self | None:
        """A table of ids, in the order of their item_index; None where one holds a zero byte."""
        layout = Layout.of(ids) if ids else None
        if layout is None:
            return None
        fitting = np.flatnonzero(layout.lengths <= MAX_BYTES)
        begins, lengths = layout.begins[fitting], layout.lengths[fitting]
        n_words = -(-int(lengths.max(initial=1)) // WORD_BYTES)
        hashes = _hash(lengths, _words(layout.text, begins, lengths, n_words))
        order = np.argsort(hashes)
        hashes, indices = hashes[order], (fitting[order] + 1).astype(np.int32)
        differs = np.concatenate([[True], hashes[1:] != hashes[:-1], [True]])
        is_only = differs[1:] & differs[:-1]
        hashes, indices = hashes[is_only], indices[is_only]
        n_bits = len(ids).bit_length()
        counts = np.bincount(_first_bits(hashes, n_bits), minlength=1 << n_bits)
        buckets = np.zeros((1 << n_bits) + 1, dtype=np.int32)
        np.cumsum(counts, out=buckets[1:])
        width = int(np.clip(counts.max(), 1, MAX_IN_BUCKET))
        # The last bucket is read as if it were full; 0 is no item's index.
        hashes = np.concatenate([hashes, np.zeros(width, dtype=np.uint64)])
        indices = np.concatenate([indices, np.zeros(width, dtype=np.int32)])
        is_short = len(layout.text) <= np.iinfo(np.uint32).max
        starts = layout.begins.astype(np.uint32) if is_short else layout.begins
        return cls(layout.text, starts, hashes, indices, buckets, width, n_words)

    def find(self, ids: Sequence[str]) -> Indices:
        """The item_index of each id, int32; 0 where the table doesn't have it."""
        layout = Layout.of(ids) if ids else None
        if layout is None:
            return np.zeros(len(ids), dtype=np.int32)
        words = list(_words(layout.text, layout.begins, layout.lengths, self.n_words))
        hashes = _hash(layout.lengths, words)
        starts = self.buckets[_first_bits(hashes, len(self.buckets).bit_length() - 1)]
        window = self.hashes[starts[:, np.newaxis] + np.arange(self.width)]
        found: Indices = self.indices[starts + (window == hashes[:, np.newaxis]).argmax(axis=1)]
        found[~self._are(found, layout.lengths, words)] = 0
        return found

    def _are(self, found: Indices, lengths: Positions, words: Sequence[Words]) -> Flags:
        """Whether each found item has exactly the requested id."""
        begins = self.begins[found - 1].astype(np.int64)
        ends = np.minimum(begins + lengths, len(self.text) - 1)
        # Followed by a zero byte: else this is only the beginning of a longer id.
        are: Flags = (found > 0) & (lengths <= self.n_words * WORD_BYTES) & (self.text[ends] == 0)
        for own, asked in zip(_words(self.text, begins, lengths, self.n_words), words, strict=True):
            are &= own == asked
        return are


def _words(text: Bytes, begins: Positions, lengths: Positions, n_words: int) -> Iterator[Words]:
    """The first, second … word of all ids, uint64 [n] each; zeros where an id has ended."""
    n_offsets = len(text) - WORD_BYTES + 1
    by_offset = np.ndarray((n_offsets,), dtype="<u8", buffer=text, strides=(1,))
    for first in range(0, n_words * WORD_BYTES, WORD_BYTES):
        offsets = np.minimum(begins + first, n_offsets - 1)
        yield by_offset[offsets] & OWN_BYTES[np.clip(lengths - first, 0, WORD_BYTES)]


def _hash(lengths: Positions, words: Iterable[Words]) -> Words:
    hashes: Words = lengths.astype(np.uint64) * MIX
    for word in words:
        hashes ^= word
        hashes *= GOLDEN
        hashes ^= hashes >> SHIFT
    hashes *= MIX
    hashes ^= hashes >> SHIFT
    return hashes


def _first_bits(hashes: Words, n_bits: int) -> Positions:
    return (hashes >> np.uint64(64 - n_bits)).astype(np.int64)
