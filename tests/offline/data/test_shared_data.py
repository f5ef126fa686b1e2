"""The research data, where the folder that LONGTAIL_DATA names is there."""

import os
from pathlib import Path

import pytest

from offline.data.dataset import read_dataset
from offline.data.issues import IssueKind
from offline.data.split import leave_one_out

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif("LONGTAIL_DATA" not in os.environ, reason="LONGTAIL_DATA is not set"),
]


@pytest.mark.parametrize(
    ("name", "n_interactions", "n_users", "n_seen_items", "n_items"),
    [
        ("ml-1m", 1_000_209, 6_040, 3_706, 3_883),
        ("amazon-beauty", 198_502, 22_363, 12_101, 12_101),
    ],
)
def test_counts(name, n_interactions, n_users, n_seen_items, n_items):
    dataset = read_dataset(Path(os.environ["LONGTAIL_DATA"]) / name)
    interactions = dataset.interactions
    assert len(interactions) == n_interactions
    assert interactions.n_users == n_users
    assert interactions.n_items == dataset.attributes.n_items == n_items
    assert len(set(interactions.items.tolist())) == n_seen_items
    # The files number their rows in place of times.
    assert {issue.kind for issue in dataset.issues} == {IssueKind.IMPLAUSIBLE_TIMES}
    assert len(leave_one_out(interactions).test) == n_users
