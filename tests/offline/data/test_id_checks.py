import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.data.id_checks import MAX_ID_CHARACTERS, are_inconspicuous, id_reasons
from offline.data.issues import IssueKind

odd = st.sampled_from(
    ["", " ", "\t", "\x7f", "\x1f", "\u0085", "\u00a0", "a b", "é", "a" * MAX_ID_CHARACTERS]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(odd | st.just("a" * (MAX_ID_CHARACTERS + 1)) | st.text(max_size=3), max_size=4))
def test_ids_without_issue_at_first_sight_have_none(ids):
    frame = pl.DataFrame({"id": ids}, schema={"id": pl.String})
    reasons = id_reasons("id", IssueKind.MISSING_ITEM)
    has_issue = any(frame.select(found.any()).item() for _, found, _ in reasons)
    assert not (are_inconspicuous(frame["id"]) and has_issue)


def test_usual_ids_have_no_issue_at_first_sight():
    assert are_inconspicuous(pl.Series(["user-000123", "7", "!~", "x" * MAX_ID_CHARACTERS]))
