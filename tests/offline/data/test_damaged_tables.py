"""Tables with random fields, quotes, damage and cuts: no row is lost without being counted."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_store.errors import InputError
from offline.data import text_tables
from offline.data.issues import IssueKind, Issues
from offline.data.text_tables import open_csv

DROPPED = (IssueKind.FIELD_COUNT, IssueKind.BAD_QUOTE)
N_EXAMPLES = 200  # 20,000 were tried once: docs/log/build.md


@dataclass(frozen=True)
class File:
    """A drawn file: the rows that stand before the cut as a whole, and how it was written."""

    content: bytes
    rows: list[tuple[str, ...]]
    is_well_formed: bool
    block_bytes: int


@st.composite
def files(draw: st.DrawFn) -> File:
    separator = draw(st.sampled_from(",;\t|"))
    n_columns = draw(st.integers(2, 5))
    is_well_formed = draw(st.booleans())
    letters = "ab1 é'" + '"' + (separator + "\n" if is_well_formed else "")
    field = st.text(st.sampled_from(letters), max_size=6)
    if not is_well_formed:  # a field that is whole in quotes would make the others quotes, too
        field = field.filter(lambda text: not (len(text) > 1 and text[0] == text[-1] == '"'))
    rows = draw(
        st.lists(st.lists(field, min_size=n_columns, max_size=n_columns), min_size=1, max_size=8)
    )
    header = [f"column_{n}" for n in range(n_columns)]
    line_break = draw(st.sampled_from(["\n", "\r\n"]))
    if is_well_formed:
        quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    records = [
        _written(row, separator, line_break, quoting)
        if is_well_formed
        else separator.join(row) + line_break
        for row in [header, *rows]
    ]
    content = "".join(records).encode()
    cut = draw(st.integers(len(records[0].encode()), len(content)))
    whole, n_bytes = [], len(records[0].encode())
    for row, record in zip(rows, records[1:], strict=True):
        n_bytes += len(record.encode())
        if n_bytes <= cut:
            whole.append(tuple(row))
    block_bytes = draw(st.sampled_from([5, 40, 1 << 20]))
    return File(content[:cut], whole, is_well_formed, block_bytes)


def _written(row: Sequence[str], separator: str, line_break: str, quoting: int) -> str:
    target = io.StringIO()
    csv.writer(target, delimiter=separator, lineterminator=line_break, quoting=quoting).writerow(
        row
    )
    return target.getvalue()


def check(path: Path, file: File) -> None:
    path.write_bytes(file.content)
    issues = Issues()
    try:
        table = open_csv(path)
        batches = list(table.batches(table.columns, issues))
    except InputError as error:
        pytest.fail(f"rejected: {error}")
    found = [row for batch in batches for row in batch.frame.rows()]
    places = [place for batch in batches for place in batch.places.to_list()]
    n_dropped = sum(issues.count(kind) for kind in DROPPED)
    assert len(found) + n_dropped >= len(file.rows)
    assert places == sorted(places)
    # Where no field shows that quotes enclose, lines that could be rows are taken for rows.
    if file.is_well_formed and (table.form.encloses or b'"' not in file.content):
        assert found[: len(file.rows)] == file.rows


# No line but one within a field reads as a record here, and that one as of six fields.
FOLDED = File(
    b'"a";"b";"c"\n"1";"";"1""\n"\n"2\n;\xc3\xa9";"2""";""\n',
    [("1", "", '1"\n'), ("2\n;é", '2"', "")],
    is_well_formed=True,
    block_bytes=5,
)


# Two stray quotes around a row read as a field of one record that has a separator too many.
STRAYS = File(b'a,b\n,"\n,\n",', [("", '"'), ("", "")], is_well_formed=False, block_bytes=5)

# A blank behind the one separator there is, which is a part of the field.
BLANK = File(b'a,b\n"""", 1\n', [('"', " 1")], is_well_formed=True, block_bytes=5)


@given(file=files())
@example(file=FOLDED)
@example(file=STRAYS)
@example(file=BLANK)
@settings(max_examples=N_EXAMPLES, deadline=None)
def test_no_row_is_lost_without_being_counted(tmp_path_factory, file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_tables, "BLOCK_BYTES", file.block_bytes)
        check(tmp_path_factory.getbasetemp() / "damaged.csv", file)
