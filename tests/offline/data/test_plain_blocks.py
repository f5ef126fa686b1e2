"""Where polars takes a block apart alone, it finds what the index of records would."""

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offline.data.plain_blocks import SAMPLED_LINES, PlainForm, read_plain
from offline.data.quoted_fields import FieldGrammar
from offline.data.record_index import index_records

FORM = PlainForm(("a", "b"), ",", b"\n")
N_EXAMPLES = 200  # 20,000 were tried once

# Mostly whole rows, so that many a block is plain, and fields that break one rule each.
fields = st.sampled_from(
    ["", "x", "7", "07", '""', '"x"', '"7"', '"07"', '"x,y"', '"x\ny"', '"x""y"', '"', 'x"', '"x']
)
odd = st.text(st.sampled_from('",\n\r x1'), max_size=6)
lines = st.tuples(fields, fields).map(",".join) | odd


@given(text=st.lists(lines, min_size=1, max_size=4).map("\n".join), end=st.sampled_from(["", "\n"]))
@example(text='"x,"y\n', end="")
@example(text='"x"\n\n"x","y",z', end="\n")
@example(text='1,\n 1\n"7",', end="")  # a blank makes up for the separator that is missing
@settings(max_examples=N_EXAMPLES, deadline=None)
def test_a_plain_block_of_quoted_fields_is_one_of_whole_rows(text, end):
    block = (text + end).encode()
    frame = read_plain(block, FORM, quoted=True, with_integers=True)
    if frame is None or b'"' not in block:
        return
    index = index_records(block, b",", b"\n", quoted=True, is_last=True)
    assert index is not None
    assert index.n_fields.tolist() == [2] * frame.height
    assert not index.is_folded
    records = [
        FieldGrammar(",").split(block[start:end].decode().removesuffix("\r"))
        for start, end in zip(index.starts, index.ends, strict=True)
    ]
    assert [list(row) for row in frame.cast(pl.String).rows()] == records


def test_rows_with_all_fields_or_some_in_quotes_are_plain():
    block = b'"u1","7"\n"u2",8\nu3,"9"\n'
    frame = read_plain(block, FORM, quoted=True, with_integers=True)
    assert frame is not None
    assert frame.schema["b"] == pl.Int64
    assert frame.rows() == [("u1", 7), ("u2", 8), ("u3", 9)]
    block += b'"u,4","09"\n'
    frame = read_plain(block, FORM, quoted=True, with_integers=True)
    assert frame is not None
    assert frame["b"].to_list() == ["7", "8", "9", "09"]


def test_a_long_last_line_does_not_make_up_for_a_blank_one():
    for block in (b'x,"y"\n\n,,', b"x,y\n\n,,"):
        is_quoted = b'"' in block
        assert read_plain(block, FORM, quoted=is_quoted, with_integers=False) is None


def test_a_record_over_two_lines_and_doubled_quotes_are_left_to_the_index():
    for block in (b'"u1","7\n8"\n', b'"u1","7""8"\n', b'"u1","7"\n\n', b'"u1"\n', b'"u1","7\n'):
        assert read_plain(block, FORM, quoted=True, with_integers=True) is None


def test_integers_of_another_spelling_are_seen_though_a_quote_makes_up_for_their_bytes():
    lines = ['"u1",7'] * SAMPLED_LINES
    plain = "\n".join([*lines, '"u2",8']).encode()
    assert read_plain(plain, FORM, quoted=True, with_integers=True) is not None
    for spelling in (" 08", "008", "+08"):
        block = "\n".join([*lines, 'u""2,8', f"u3,{spelling}"]).encode()
        assert read_plain(block, FORM, quoted=True, with_integers=True) is None
