"""What was read of a file, in the words of tests."""

from pathlib import Path

from offline.data.dataset import Dataset
from offline.data.issues import IssueKind

GOOD = "user_id,item_id,timestamp\nu,a,1\n"
CSV = "user_id,item_id,timestamp\nu,a,1000000000\nu,b,1000000001\nv,ü,1000000002\n"
HISTORIES = {"u": ["a", "b"], "v": ["ü"]}


def histories(dataset: Dataset) -> dict[str, list[str]]:
    interactions = dataset.interactions
    return {
        user_id: [interactions.item_ids.id_of(i) for i in interactions.history(user)]
        for user, user_id in enumerate(interactions.user_ids)
    }


# The tests' times are small numbers, which tests of times and of ties look at.
ABOUT_TIMES = (IssueKind.IMPLAUSIBLE_TIMES, IssueKind.TIED, IssueKind.NEWEST_FIRST)


def lines_about_rows(dataset: Dataset) -> list[str]:
    return [str(issue) for issue in dataset.issues if issue.kind not in ABOUT_TIMES]


def written(folder: Path, interactions: str, items: str | None = None) -> Path:
    (folder / "interactions.csv").write_text(interactions, encoding="utf-8")
    if items is not None:
        (folder / "items.csv").write_text(items, encoding="utf-8")
    return folder
