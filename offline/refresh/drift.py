"""How far new events are from what a running model was trained on.

The population stability index of two distributions p (before) and q (now) over the same bins is
PSI = sum (p - q) ln(p / q), the symmetrised Kullback-Leibler divergence. By a rule of thumb below
.1 is little and above .25 is much. Two samples of one distribution have about
(B - 1) (1/n + 1/m) of it by sampling alone (Yurdakul and Naranjo, *Journal of Risk Model
Validation* 14, 2020), which stands beside each figure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.attributes import Attribute, ItemAttributes
from model_store.id_map import IdMap
from offline.data.interactions import Interactions

MIN_EXPECTED = 5.0
"""New events that a bin would get without a change; smaller bins are one bin together."""
LENGTH_ENDS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Upper ends of the bins of history lengths; the last one is open."""
_N_QUANTILES = 10
_MANY_VALUES = 0.5  # distinct texts an item, from which a text names the item

Counts = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Stability:
    """A population stability index.

    Attributes:
        psi: 0 where nothing changed; NaN where there is nothing to compare.
        by_sampling: about what two samples of one distribution have.
        bins: B.
    """

    psi: float
    by_sampling: float
    bins: int

    def to_document(self) -> dict[str, Any]:
        """In JSON's types: what can't be told is null."""
        return {name: None if one != one else one for name, one in asdict(self).items()}


@dataclass(frozen=True)
class Drift:
    """What changed between the last data set and the new events.

    Attributes:
        items: of the items that people chose; unknown ones are one bin.
        attributes: of these items' attributes, by name.
        history_lengths: of the last data set's users, against those of new events.
        unknown_items: share of the new events whose item the running model lacks.
        unknown_users: share of the users of new events who had no interaction before.
    """

    items: Stability
    attributes: dict[str, Stability]
    history_lengths: Stability
    unknown_items: float
    unknown_users: float

    def to_document(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "items": self.items.to_document(),
            "attributes": {name: one.to_document() for name, one in self.attributes.items()},
            "history_lengths": self.history_lengths.to_document(),
            "unknown_items": self.unknown_items,
            "unknown_users": self.unknown_users,
        }


def measure_drift(
    interactions: Interactions, is_new: Bool, attributes: ItemAttributes, running_items: IdMap
) -> Drift:
    """Compare new interactions with the others.

    Args:
        interactions: of both.
        is_new: bool [n].
        attributes: of the items.
        running_items: the running model's catalogue.
    """
    n_items = interactions.n_items
    before = np.bincount(interactions.items[~is_new], minlength=n_items + 1)[1:].astype(float)
    now = np.bincount(interactions.items[is_new], minlength=n_items + 1)[1:].astype(float)
    is_known = np.array([one in running_items for one in interactions.item_ids.ids], dtype=np.bool_)
    found = {name: attributes.get(name) for name in attributes.names}
    of_attributes = {
        name: stability(*counts)
        for name, attribute in found.items()
        if attribute is not None and (counts := _by_value(attribute, before, now)) is not None
    }
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.offsets))
    old_lengths = np.bincount(users[~is_new], minlength=interactions.n_users)
    lengths = np.bincount(users, minlength=interactions.n_users)
    are_active = np.bincount(users[is_new], minlength=interactions.n_users) > 0
    return Drift(
        items=stability(
            before[is_known], now[is_known], apart=(before[~is_known].sum(), now[~is_known].sum())
        ),
        attributes=of_attributes,
        history_lengths=stability(
            _by_length(old_lengths[old_lengths > 0]), _by_length(lengths[are_active])
        ),
        unknown_items=_share(now[~is_known].sum(), now.sum()),
        unknown_users=_share((are_active & (old_lengths == 0)).sum(), are_active.sum()),
    )


def stability(before: Counts, now: Counts, *, apart: tuple[float, float] = (0.0, 0.0)) -> Stability:
    """The index of two counts over the same bins, small bins pooled.

    A bin that is empty in one of the two would make the index infinite: half an observation is
    added to each bin then.

    Args:
        before: counts [B].
        now: counts [B].
        apart: before and now of a bin that is never pooled.
    """
    before, now = np.asarray(before, dtype=float), np.asarray(now, dtype=float)
    n_before, n_now = before.sum() + apart[0], now.sum() + apart[1]
    if not n_before or not n_now:
        return Stability(float("nan"), float("nan"), 0)
    is_small = before * n_now < MIN_EXPECTED * n_before
    pooled = [
        np.array([*one[~is_small], one[is_small].sum(), others])
        for one, others in ((before, apart[0]), (now, apart[1]))
    ]
    cells = np.stack(pooled)
    cells = cells[:, cells.sum(axis=0) > 0]
    if (cells == 0).any():
        cells += 0.5
    p, q = cells / cells.sum(axis=1, keepdims=True)
    n_bins = cells.shape[1]
    return Stability(
        float(((p - q) * np.log(p / q)).sum()),
        float((n_bins - 1) * (1 / n_before + 1 / n_now)),
        n_bins,
    )


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _by_length(lengths: npt.NDArray[np.integer]) -> Counts:
    places = np.searchsorted(LENGTH_ENDS, lengths)
    return np.bincount(places, minlength=len(LENGTH_ENDS) + 1).astype(float)


def _by_value(attribute: Attribute, before: Counts, now: Counts) -> tuple[Counts, Counts] | None:
    """Counts of the items by their values; None of texts that name items."""
    if attribute.kind == "number":
        values: Sequence[Iterable[Hashable]] = _quantiles(attribute, before)
    elif attribute.kind == "list":
        lists = attribute.values
        values = [set(one) if isinstance(one, list) and one else (None,) for one in lists]
    else:
        texts = [one for one in attribute.values if one is not None]
        if attribute.kind == "text" and len(set(map(str, texts))) > _MANY_VALUES * len(texts):
            return None
        values = [(str(one),) if one is not None else (None,) for one in attribute.values]
    numbers: dict[Hashable, int] = {}
    pairs = [
        (numbers.setdefault(value, len(numbers)), item)
        for item, of_item in enumerate(values)
        for value in of_item
    ]
    if len(numbers) < 2:
        return None
    rows, items = np.array(pairs).T
    n_values = len(numbers)
    counted: tuple[Counts, Counts] = (
        np.bincount(rows, weights=before[items], minlength=n_values).astype(float),
        np.bincount(rows, weights=now[items], minlength=n_values).astype(float),
    )
    return counted


def _quantiles(attribute: Attribute, before: Counts) -> list[tuple[int | None]]:
    """The tenth of the interactions before that each item's number lies in; None without one."""
    numbers = np.array([np.nan if one is None else one for one in attribute.values], dtype=float)
    weights = np.where(np.isnan(numbers), 0.0, before)
    if not weights.sum():
        return [(None,)] * len(numbers)
    order = np.argsort(numbers, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    parts = np.arange(1, _N_QUANTILES) / _N_QUANTILES
    edges = np.unique(numbers[order][np.searchsorted(reached, parts)])
    bins = np.searchsorted(edges, numbers)
    return [
        (None,) if np.isnan(number) else (int(one),)
        for number, one in zip(numbers, bins, strict=True)
    ]
