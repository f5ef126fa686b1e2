"""Pins and caps: which items of a ranking an answer holds, and at which ranks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.ranking import EXCLUDED, Best
from app.model.rule_effect import CapSlots, Effect, Pinned

MAX_STARTS = 256
"""Of an effect: for a number of items, those of the pinned ones that the answer may hold."""

Further = Callable[[int, IndexArray, Sequence[IndexArray]], Best]
"""Returns the best items but for some; see `RuledSource.further`."""


class Caps:
    """Counts the values of an answer's items.

    Args:
        slots: numbers of the values that the caps count.
    """

    def __init__(self, slots: CapSlots) -> None:
        self._slots = slots
        self._counts: dict[int, int] = {}
        self._full: set[int] = set()
        # Looked at for each item of a long walk, most of which caps keep out.
        self.is_disjoint, self.known = self._full.isdisjoint, slots.known

    def copy(self) -> Caps:
        """The same counts, to go on with."""
        copy = Caps(self._slots)
        copy._counts.update(self._counts)
        copy._full.update(self._full)
        return copy

    def count(self, item: int, scores: FloatArray | None = None) -> None:
        """Count an item of the answer.

        Args:
            item: item_index.
            scores: [N+1]; the items that caps keep out from now on are put to -inf.
        """
        slots, counts = self._slots, self._counts
        for slot in slots.of(item):
            count = counts[slot] = counts.get(slot, 0) + 1
            if count == slots.limits[slot]:
                self._full.add(slot)
                if scores is not None:
                    scores[slots.positions_of(slot)] = EXCLUDED

    def permit(self, item: int) -> bool:
        """Whether no cap keeps an item out."""
        return self._full.isdisjoint(self._slots.of(item))

    def that_keep_out(self, item: int) -> set[str]:
        """Names of the caps that keep an item out."""
        full = self._full.intersection(self._slots.of(item))
        return {self._slots.by_slot[slot][0].name for slot in full}

    def kept_out(self) -> list[IndexArray]:
        """All items that caps keep out now, sorted, in several sets."""
        return [self._slots.by_slot[slot][1] for slot in self._full]

    def keep_out(self, scores: FloatArray) -> None:
        """Put all items that caps keep out now to -inf; scores are [N+1]."""
        for slot in self._full:
            scores[self._slots.positions_of(slot)] = EXCLUDED


class Arrangement:
    """The items of one answer, taken one by one from the best on; pinned ones are there already.

    Args:
        effect: of the rules.
        pinned: the pinned items that the answer may hold, and their scores.
        k: number of items.
        explains: whether `notes` are made.
    """

    def __init__(
        self, effect: Effect, pinned: Mapping[int, float], k: int, *, explains: bool
    ) -> None:
        self._pins, self._caps = _start(effect, pinned, k)
        self._k = k
        self._explains = explains
        self._n_skipped: dict[str, int] = {}
        self._scores = {pin.item: pinned[pin.item] for _, pin in self._pins}
        self._taken: list[int] = []
        self.notes: dict[int, list[dict[str, Any]]] = {}
        """By item, the pins and caps that moved it, for explanations."""
        if explains:
            for rank, pin in self._pins:
                self.notes[pin.item] = [{"name": pin.name, "action": "pin", "rank": rank}]

    @property
    def n_left(self) -> int:
        """How many items are missing."""
        return self._k - len(self._scores)

    def take_all(self, items: Sequence[int], scores: Sequence[float]) -> None:
        """Take items, the best first, until the answer is full."""
        n_left, take = self.n_left, self.take
        if not n_left:
            return
        if self._caps is not None and not self._explains:
            is_disjoint, known = self._caps.is_disjoint, self._caps.known
            for item, score in zip(items, scores, strict=True):
                if is_disjoint(known.get(item, ())) and take(item, score):
                    n_left -= 1
                    if not n_left:
                        break
            return
        for item, score in zip(items, scores, strict=True):
            if take(item, score):
                n_left -= 1
                if not n_left:
                    break

    def take(self, item: int, score: float) -> bool:
        """Take the next best item unless it is there or a cap keeps it out; whether it is taken."""
        if item in self._scores:
            return False
        if self._caps is not None:
            if not self._caps.permit(item):
                if self._explains:
                    for name in self._caps.that_keep_out(item):
                        self._n_skipped[name] = self._n_skipped.get(name, 0) + 1
                return False
            self._caps.count(item)
        self._scores[item] = score
        self._taken.append(item)
        if self._n_skipped:
            self.notes[item] = [
                {"name": name, "action": "cap", "skipped": n} for name, n in self._n_skipped.items()
            ]
        return True

    def fill(self, further: Further) -> None:
        """Take further items until the answer is full, or caps permit no other item.

        The best item that the caps permit fits, so each round takes one at least, unless the
        catalogue changes meanwhile.
        """
        n_before = self.n_left + 1
        while 0 < self.n_left < n_before:
            n_before = self.n_left
            taken = np.array(list(self._scores), dtype=np.int32)
            kept_out = self._caps.kept_out() if self._caps is not None else []
            items, scores = further(self.n_left, taken, kept_out)
            if not len(items):
                break
            self.take_all(items.tolist(), scores.tolist())

    def take_from(self, scores: FloatArray) -> None:
        """Take the best items until the answer is full, or caps permit no other item.

        One pass over the scores an item, and those whose value is full are marked: where caps keep
        out most of what ranks first, that costs less than to look at each of it.

        Args:
            scores: [N+1], without NaN; items that the answer may not hold at -inf. It is changed.
        """
        caps = self._caps
        scores[list(self._scores)] = EXCLUDED
        if caps is not None:
            caps.keep_out(scores)
        for _ in range(self.n_left):
            item = int(scores.argmax())  # of several that tie, the first
            score = scores.item(item)
            if score == -inf:
                return
            self._scores[item] = score
            self._taken.append(item)
            scores[item] = EXCLUDED
            if caps is not None:
                caps.count(item, scores)

    def best(self) -> tuple[IndexArray, FloatArray]:
        """The items and their scores, in the answer's order."""
        items = list(self._taken)
        for rank, pin in self._pins:  # by rank: each is where it belongs when the later ones come
            items.insert(rank - 1, pin.item)
        scores = [self._scores[item] for item in items]
        return np.array(items, dtype=np.int32), np.array(scores, dtype=np.float32)


def _start(
    effect: Effect, permitted: Mapping[int, float], k: int
) -> tuple[list[tuple[int, Pinned]], Caps | None]:
    """The ranks of pinned items, and the caps that have counted these."""
    key = (k, *permitted)
    start = effect.starts.get(key)
    if start is None:
        pins = _places(effect.pinned, permitted, k)
        caps = Caps(effect.cap_slots) if effect.capped else None
        if caps is not None:
            for _, pin in pins:
                caps.count(pin.item)
        if len(effect.starts) >= MAX_STARTS:
            effect.starts.clear()
        start = effect.starts[key] = pins, caps
    pins, caps = start
    return pins, None if caps is None else caps.copy()


def _places(pins: Sequence[Pinned], permitted: Collection[int], k: int) -> list[tuple[int, Pinned]]:
    """The ranks of pinned items; of two that want the same, the second is next.

    Args:
        pins: by rank.
        permitted: items that the answer may hold.
        k: number of its items.
    """
    places: list[tuple[int, Pinned]] = []
    pinned: set[int] = set()
    rank = 0
    for pin in pins:
        if pin.item in permitted and pin.item not in pinned:
            rank = max(pin.rank, rank + 1)
            if rank > k:
                break
            pinned.add(pin.item)
            places.append((rank, pin))
    return places
