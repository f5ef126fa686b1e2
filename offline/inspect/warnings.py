"""What a person should hear about a data set before anything is trained with it."""

from __future__ import annotations

from offline.data.issues import IssueKind
from offline.inspect.inspection import Inspection

# Shares from which something is worth a warning.
NOTABLE_LACKING, NOTABLE_DROPPED, NOTABLE_REPEATS = 0.05, 0.05, 0.02
NOTABLE_TRAIN_ONLY = 0.8
MAX_OUTLIERS = 2
# Rows that are left out since somebody wants that.
ASKED_FOR = (IssueKind.COLLAPSED_REPEAT, IssueKind.OUTSIDE_CATALOGUE)


def warnings_about_data(inspection: Inspection) -> list[str]:
    """One line for each thing that will make a model worse, with what can be done about it."""
    checks = (_dropped, _implausible, _newest_first, _lacking, _repeated, _outliers, _short, _seen)
    return [line for check in checks if (line := check(inspection)) is not None]


def _dropped(inspection: Inspection) -> str | None:
    losses = [
        issue for issue in inspection.issues if issue.kind.is_loss and issue.kind not in ASKED_FOR
    ]
    n_dropped = sum(issue.count for issue in losses)
    n_rows = n_dropped + inspection.n_interactions
    if not losses or n_dropped < NOTABLE_DROPPED * n_rows:
        return None
    worst = max(losses, key=lambda issue: issue.count)
    return (
        f"{_percent(n_dropped / n_rows)} of all rows are not used; the most common reason: {worst}"
    )


def _implausible(inspection: Inspection) -> str | None:
    issue = inspection.issue(IssueKind.IMPLAUSIBLE_TIMES)
    if issue is None:
        return None
    return (
        f"{_percent(issue.count / inspection.n_interactions)} of the times lie before 1980 or in "
        f"the future ({'; '.join(issue.examples)}): they give an order, and no dates. Is the "
        "column a count of something else, or another column the time (--columns timestamp=NAME)?"
    )


def _newest_first(inspection: Inspection) -> str | None:
    if inspection.issue(IssueKind.NEWEST_FIRST) is None:
        return None
    return (
        "the file is newest first, and interactions of a user at one time are read as oldest "
        f"first ({_percent(inspection.times.share_tied)} of all): their order is perhaps turned "
        "around; write the oldest row first, or times of day"
    )


def _lacking(inspection: Inspection) -> str | None:
    overlap = inspection.overlap
    if overlap is None or not overlap.n_lacking:
        return None
    share = max(overlap.share_of_items_lacking, overlap.share_of_interactions_lacking)
    near = "; ".join(map(str, overlap.near_misses))
    if share < NOTABLE_LACKING and not near:
        return None
    examples = ", ".join(f"{item_id!r:.60}" for item_id in overlap.examples)
    hint = f"; of these ids, {near}" if near else ""
    return (
        f"the catalogue lacks {overlap.n_lacking:,} of the {overlap.n_named:,} items that "
        f"interactions name ({_percent(overlap.share_of_items_lacking)}, with "
        f"{_percent(overlap.share_of_interactions_lacking)} of the interactions): "
        f"{examples}{hint}. They are recommended without title and attributes; "
        "`longtail build --catalogue-only` leaves them out"
    )


def _repeated(inspection: Inspection) -> str | None:
    share = inspection.histories.share_of_targets
    if share < NOTABLE_REPEATS:
        return None
    hint = "`longtail build --repeats first` counts an item once for each user"
    if 2 * inspection.histories.n_in_runs >= inspection.histories.n_repeats:
        hint = (
            "most repeats come one directly after another, as a purchase after a view: "
            "`longtail build --repeats runs` counts such a run once"
        )
    return (
        f"{_percent(share)} of the test targets stand in their user's history, and a request "
        f"leaves such items out (exclude_seen), so they count as misses; {hint}"
    )


def _outliers(inspection: Inspection) -> str | None:
    histories = inspection.histories
    if not histories.n_outliers:
        return None
    share = histories.n_of_outliers / inspection.n_interactions
    users = "user has" if histories.n_outliers == 1 else "users have"
    return (
        f"{histories.n_outliers:,} {users} far more interactions than others, {_percent(share)} of "
        f"all (bots?): {'; '.join(map(str, histories.outliers[:MAX_OUTLIERS]))}"
    )


def _short(inspection: Inspection) -> str | None:
    histories = inspection.histories
    train_only = 1 - histories.n_held_out / histories.n_users
    if train_only < NOTABLE_TRAIN_ONLY:
        return None
    return (
        f"{_percent(train_only)} of the users have fewer than three interactions: they only train, "
        f"and figures are those of the {histories.n_held_out:,} others"
    )


def _seen(inspection: Inspection) -> str | None:
    if not inspection.histories.are_complete:
        return None
    return (
        f"every user has all {inspection.n_items:,} items: a request leaves out what its user has "
        "(exclude_seen), so nothing is left to be recommended"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
