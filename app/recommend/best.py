"""The best items by a source, as rules weight, hide and pin them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.model import Model
from app.model.ranking import EXCLUDED, Best, are_members, best_of, mask
from app.model.rule_effect import Effect
from app.recommend.sources import DIRECT, MODEL, POPULAR, Source

# Scores that are passed over to find one item after another, at 0.1 to 0.2 ns each.
MAX_SCANNED = 1_000_000


@dataclass(slots=True)
class RuledSource:
    """A source's scores for one plan, with an effect of rules.

    Attributes:
        scores: of the source; those of all items have the rules' part in them already.
        excluded: item_indices, in any order.
        allowed: sorted item_indices; None means all.
    """

    effect: Effect
    source: Source
    scores: FloatArray
    excluded: IndexArray
    allowed: IndexArray | None
    model: Model

    def weight(self) -> None:
        """Add to the scores what rules give the items; once, before anything else.

        A source that doesn't score all items is weighted as its best ones are found.
        """
        shift = self.effect.shift
        if shift is not None and not _is_indirect(self.source, self.model):
            unit = self.source.unit
            self.scores += shift if unit == 1 else shift * np.float32(unit)

    def best(self, k: int) -> Best:
        """The k best items; see `Source.best`."""
        return self._best(k, self.excluded, self.allowed)

    def further(self, k: int, taken: IndexArray, kept_out: Sequence[IndexArray]) -> Best:
        """The k best items but for some.

        Args:
            k: at least 1.
            taken: item_indices, a few.
            kept_out: sorted item_indices, in several sets; never to be asked for again.
        """
        excluded = np.concatenate([self.excluded, taken])
        if not kept_out:
            return self._best(k, excluded, self.allowed)
        if not _is_indirect(self.source, self.model):
            return self._best(k, np.concatenate([excluded, *kept_out]), self.allowed)
        # Of many excluded items, a retriever is better told the others.
        is_left = np.ones(self.effect.n_items + 1, dtype=np.bool_)
        is_left[0] = False
        for items in kept_out:
            is_left[items] = False
        left = self._available(np.flatnonzero(is_left).astype(np.int32))
        return self._best(k, excluded, _common(left, self.allowed))

    def can_scan(self, k: int) -> bool:
        """Whether to look k times for the best of all scores costs less than to rank many."""
        if _is_indirect(self.source, self.model):
            return False
        return k * len(self.scores) <= MAX_SCANNED

    def remaining(self) -> FloatArray | None:
        """The scores of all items, with what the answer may not hold at -inf; to be changed.

        None where the largest isn't finite, as where one is NaN.
        """
        scores, withdrawn = self.scores, self.model.availability.withdrawn
        mask(scores, self.excluded)
        if len(withdrawn):
            mask(scores, withdrawn)
        if self.allowed is not None:
            scores = np.full_like(scores, EXCLUDED)
            scores[self.allowed] = self.scores[self.allowed]
        return scores if isfinite(scores.item(scores.argmax())) else None

    def pinned(self) -> dict[int, float]:
        """The pinned items that the answer may hold, and their scores.

        To be asked after `best` or `remaining`, which mark what is excluded.
        """
        items = self.effect.pinned_items
        if self.allowed is not None:
            items = items[are_members(items, self.allowed)]
        if not len(items):
            return {}
        if _is_indirect(self.source, self.model):
            items, scores = self._best(len(items), self.excluded, self._available(items))
        else:
            scores = self.scores[items]  # those that are excluded are marked
        of_item = zip(items.tolist(), scores.tolist(), strict=True)
        return {item: score for item, score in of_item if score > -inf}

    def _best(self, k: int, excluded: IndexArray, allowed: IndexArray | None) -> Best:
        source, shift, model = self.source, self.effect.shift, self.model
        if shift is None or not _is_indirect(source, model):
            return source.best(self.scores, k, excluded, allowed, model)
        if source is POPULAR:
            popularity = self.effect.popularity(model.popularity)
            return popularity.best(k, excluded, allowed, model.availability.withdrawn)
        return self._best_retrieved(shift, k, excluded, allowed)

    def _best_retrieved(
        self, shift: FloatArray, k: int, excluded: IndexArray, allowed: IndexArray | None
    ) -> Best:
        """The best of the items that rules leave alone, and of each group that they weight alike.

        An item among the k best is among the k best of its own group. A retriever can't leave out
        a large group at no cost, so for the items left alone it searches deeper until there are k.
        """
        depth = k
        while True:
            items, scores = self.source.best(self.scores, depth, excluded, allowed, self.model)
            is_plain = shift[items] == 0
            if len(items) < depth or np.count_nonzero(is_plain) >= k:
                break
            depth *= 2
        found = [(items[is_plain], scores[is_plain])]
        few, groups = self.effect.groups
        for group, n in ((few, len(few)), *((group, k) for group in groups)):
            some = self._available(group) if allowed is None else _common(group, allowed)
            if some is not None and len(some):
                best, of_best = self.source.best(self.scores, n, excluded, some, self.model)
                found.append((best, of_best + shift[best]))
        items = np.concatenate([one for one, _ in found])
        return best_of(k, items, np.concatenate([one for _, one in found]))

    def _available(self, items: IndexArray) -> IndexArray:
        return self.model.availability.permitted(items)


def plain_scores(
    effect: Effect, source: Source, items: IndexArray, scores: FloatArray, model: Model
) -> FloatArray:
    """The scores of an answer's items as they would be without rules."""
    if effect.shift is None:
        return scores
    if source is POPULAR:
        return model.popularity.counts[items]
    plain: FloatArray = scores - effect.shift[items] * np.float32(source.unit)
    return plain


def _is_indirect(source: Source, model: Model) -> bool:
    """Whether a source finds the best items without a score for each."""
    return source is POPULAR or (source in (MODEL, DIRECT) and model.retriever is not None)


def _common(items: IndexArray | None, others: IndexArray | None) -> IndexArray | None:
    """The items of both sets, sorted as they are; None is the set of all."""
    if items is None or others is None:
        return others if items is None else items
    return items[are_members(items, others)]
