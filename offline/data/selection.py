"""Selects the interactions of a data set that a recipe's `[data]` table asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model_store.attributes import Attribute, ItemAttributes
from model_store.errors import InputError
from model_store.event_rules import DEFAULT_RULES, EventRules
from model_store.forgotten import digest_of_user
from model_store.id_map import IdMap
from model_store.suggestion import did_you_mean
from offline.data.config import DataConfig
from offline.data.dataset import Dataset
from offline.data.event_meaning import Meaning, TypedInteractions, Weights, unless_equal
from offline.data.event_types import describe_types
from offline.data.interactions import Interactions
from offline.data.issues import MAX_EXAMPLES, IssueKind, Issues

Bool = npt.NDArray[np.bool_]
_INTERACTIONS = "interactions"


def select(dataset: Dataset, config: DataConfig, rules: EventRules = DEFAULT_RULES) -> Dataset:
    """The data set with the interactions that are asked for; the others are reported as issues.

    Its interactions are the positive ones; `typed` has the others too. Users who have none left
    are left out.

    Raises:
        InputError: the catalogue alone is asked for, and there is none, or no interaction has an
            item of it; or event types are asked for that no interaction has; or no interaction is
            positive.
    """
    if config.event_types is not None:
        dataset = _of_types(dataset, config.event_types)
    if config.catalogue_only:
        dataset = _of_catalogue(dataset)
    dataset = _positive(dataset, rules)
    if config.repeats != "keep":
        dataset = _without_repeats(dataset, within_runs=config.repeats == "runs")
    return dataset


def without_forgotten(dataset: Dataset, forgotten: Mapping[bytes, float]) -> Dataset:
    """The data set without what people did before they were forgotten.

    Items that only they name are left out too, unless the catalogue has them.

    Args:
        dataset: as it was read.
        forgotten: unix seconds by `forgotten.digest_of_user`.

    Raises:
        InputError: nothing is left.
    """
    interactions = dataset.interactions
    ends = {
        user: forgotten[digest]
        for user, user_id in enumerate(interactions.user_ids)
        if (digest := digest_of_user(user_id)) in forgotten
    }
    if not ends:
        return dataset
    stays = np.ones(len(interactions), dtype=np.bool_)
    for user, at_s in ends.items():
        rows = slice(interactions.offsets[user], interactions.offsets[user + 1])
        stays[rows] = interactions.timestamps[rows] > at_s
    if not stays.any():
        raise InputError("everybody in the data set was forgotten, so nothing is left to learn")
    kept = _kept(interactions, stays)
    is_kept = np.bincount(kept.items, minlength=kept.n_items + 1)[1:] > 0
    is_kept[: dataset.n_catalogued] = True
    types = dataset.event_types
    dataset = replace(dataset, interactions=kept, event_types=types and types.take(stays))
    return _of_items(dataset, is_kept)


def find_repeats(interactions: Interactions) -> Bool:
    """Whether the user had each interaction's item before, bool [n]."""
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.offsets))
    keys = users * (interactions.n_items + 1) + interactions.items
    _, first = np.unique(keys, return_index=True)
    repeats = np.ones(len(interactions), dtype=np.bool_)
    repeats[first] = False
    return repeats


def find_runs(interactions: Interactions) -> Bool:
    """Whether each interaction is of the item of the user's previous one, bool [n]."""
    runs = np.zeros(len(interactions), dtype=np.bool_)
    runs[1:] = interactions.items[1:] == interactions.items[:-1]
    runs[interactions.offsets[:-1][np.diff(interactions.offsets) > 0]] = False
    return runs


def _of_types(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
    """The data set with interactions of these types alone.

    Items that only the others name are left out too: nothing would be known of them.
    """
    types = dataset.event_types
    asked = f"data.event_types = {json.dumps(names, ensure_ascii=False)}"
    if types is None:
        raise InputError(
            f"{asked}: the interactions have no such column (--columns event_type=NAME names it)"
        )
    counts = types.counts()
    for name in names:
        if name not in counts:
            raise InputError(
                f"{asked}: no interaction is of type {name!r}{did_you_mean(name, counts)} "
                f"(types: {describe_types(counts)})"
            )
    chosen = types.are_of(names)
    issues = _copy(dataset.issues)
    others = {name: count for name, count in counts.items() if name not in names}
    n_others = sum(others.values())
    issues.add(_INTERACTIONS, IssueKind.OTHER_EVENT_TYPE, n_others, [describe_types(others)])
    kept = _kept(dataset.interactions, chosen)
    is_kept = np.bincount(kept.items, minlength=kept.n_items + 1)[1:] > 0
    is_kept[: dataset.n_catalogued] = True
    dataset = replace(dataset, interactions=kept, issues=issues, event_types=types.take(chosen))
    return _of_items(dataset, is_kept)


def _positive(dataset: Dataset, rules: EventRules) -> Dataset:
    """The data set with positive interactions, and all of them apart.

    Items that only the others name are left out: nothing would be known of them.
    """
    meaning = Meaning.by_rules(dataset.interactions, dataset.event_types, rules)
    if meaning.is_plain:
        return replace(dataset, interactions=_weighted(dataset.interactions, meaning.weights))
    counts, n_all = meaning.counts(), len(dataset.interactions)
    if not counts["positive"]:
        raise InputError(
            f"[events]: none of the {n_all:,} interactions is positive ({counts['negative']:,} are "
            f"negative, {counts['context']:,} context only), so there is nothing to learn from"
        )
    positive = meaning.weights > 0
    is_kept = np.bincount(
        dataset.interactions.items[positive], minlength=dataset.interactions.n_items + 1
    )[1:].astype(np.bool_)
    is_kept[: dataset.n_catalogued] = True
    rows = is_kept[dataset.interactions.items - 1]
    issues = _copy(dataset.issues)
    issues.add(_INTERACTIONS, IssueKind.NEGATIVE, counts["negative"])
    issues.add(_INTERACTIONS, IssueKind.CONTEXT_ONLY, counts["context"])
    if not is_kept.all():
        dataset = replace(dataset, interactions=_kept(dataset.interactions, rows))
        dataset = _of_items(dataset, is_kept)
    everything, weights = dataset.interactions, meaning.weights[rows]
    used = _kept(everything, weights > 0)
    return replace(
        dataset,
        interactions=_weighted(used, weights[weights > 0]),
        issues=issues,
        event_types=dataset.event_types and dataset.event_types.take(positive),
        typed=TypedInteractions(everything, meaning.kinds[rows], meaning.types),
    )


def _weighted(interactions: Interactions, weights: Weights) -> Interactions:
    return replace(interactions, weights=unless_equal(weights))


def _of_items(dataset: Dataset, is_kept: Bool) -> Dataset:
    """The data set without items that no interaction is with; bool [N], true for those kept."""
    interactions = dataset.interactions
    indices = [int(index) for index in np.flatnonzero(is_kept) + 1]
    new_indices = np.zeros(interactions.n_items + 1, dtype=np.int32)
    new_indices[indices] = np.arange(1, len(indices) + 1)
    item_ids = IdMap([interactions.item_ids.id_of(index) for index in indices])
    columns = [dataset.attributes.get(name) for name in dataset.attributes.names]
    attributes = [
        Attribute(column.name, column.kind, [column.values[index - 1] for index in indices])
        for column in columns
        if column is not None
    ]
    return replace(
        dataset,
        interactions=replace(
            interactions, item_ids=item_ids, items=new_indices[interactions.items]
        ),
        attributes=ItemAttributes(attributes, len(indices)),
    )


def _without_repeats(dataset: Dataset, *, within_runs: bool) -> Dataset:
    interactions = dataset.interactions
    repeats = find_runs(interactions) if within_runs else find_repeats(interactions)
    if interactions.weights is not None:
        weights = _heaviest(interactions, interactions.weights, repeats, within_runs=within_runs)
        interactions = replace(interactions, weights=weights)
    issues = _copy(dataset.issues)
    examples = [
        f"user {interactions.user_ids[user][:60]!r}, item "
        f"{interactions.item_ids.id_of(int(interactions.items[row]))[:60]!r}"
        for row in np.flatnonzero(repeats)[:MAX_EXAMPLES]
        for user in [int(np.searchsorted(interactions.offsets, row, side="right")) - 1]
    ]
    issues.add(_INTERACTIONS, IssueKind.COLLAPSED_REPEAT, int(repeats.sum()), examples)
    return replace(
        dataset,
        interactions=_kept(interactions, ~repeats),
        issues=issues,
        event_types=dataset.event_types and dataset.event_types.take(~repeats),
    )


def _heaviest(
    interactions: Interactions, weights: Weights, repeats: Bool, *, within_runs: bool
) -> Weights:
    """The largest weight among each interaction and its repeats, float32 [n].

    A purchase that repeats a view is left out, and the view that stays stands for both.
    """
    if within_runs:
        groups = np.cumsum(~repeats) - 1
    else:
        users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.offsets))
        keys = users * (interactions.n_items + 1) + interactions.items
        groups = np.unique(keys, return_inverse=True)[1].reshape(-1)
    heaviest = np.zeros(int(groups.max(initial=0)) + 1, np.float32)
    np.maximum.at(heaviest, groups, weights)
    of_each: Weights = heaviest[groups]
    return of_each


def _of_catalogue(dataset: Dataset) -> Dataset:
    """The data set without items past the catalogue's, which stand first."""
    n_catalogued = dataset.n_catalogued
    if not n_catalogued:
        raise InputError("data.catalogue_only = true: there is no catalogue (--items FILE)")
    interactions = dataset.interactions
    is_in = interactions.items <= n_catalogued
    if not is_in.any():
        raise InputError(
            f"data.catalogue_only = true: none of the {len(interactions):,} interactions has an "
            "item of the catalogue (`longtail inspect` tells how the ids differ)"
        )
    dataset = replace(
        dataset,
        interactions=_kept(interactions, is_in),
        event_types=dataset.event_types and dataset.event_types.take(is_in),
        issues=Issues(
            [
                replace(issue, kind=IssueKind.OUTSIDE_CATALOGUE)
                if issue.kind is IssueKind.ITEM_NOT_IN_CATALOGUE
                else issue
                for issue in dataset.issues
            ]
        ),
    )
    return _of_items(dataset, np.arange(interactions.n_items) < n_catalogued)


def _kept(interactions: Interactions, mask: Bool) -> Interactions:
    """Some of the interactions, in their order.

    Args:
        mask: bool [n], true for those.
    """
    ends = np.concatenate(([0], np.cumsum(mask)))
    lengths = ends[interactions.offsets[1:]] - ends[interactions.offsets[:-1]]
    has_any = lengths > 0
    offsets = np.concatenate(([0], np.cumsum(lengths[has_any]))).astype(np.int64)
    ratings, weights = interactions.ratings, interactions.weights
    return Interactions(
        [user_id for user_id, kept in zip(interactions.user_ids, has_any, strict=True) if kept],
        interactions.item_ids,
        offsets,
        interactions.items[mask],
        interactions.timestamps[mask],
        None if ratings is None else ratings[mask],
        None if weights is None else unless_equal(weights[mask]),
    )


def _copy(issues: Issues) -> Issues:
    return Issues([replace(issue, examples=[*issue.examples]) for issue in issues])
