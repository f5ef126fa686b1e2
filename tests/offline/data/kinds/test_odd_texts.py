"""Whatever a column of texts holds, it is read, and its values can be stored."""

import contextlib

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.attributes import ItemAttributes
from offline.data.attribute_kinds import infer_attribute
from offline.data.kinds.times import AmbiguousDatesError, read_times
from offline.item_text import item_text

PIECES = (
    *("a", "1", "0", "2019", "13", "-", "/", ".", ",", ":", " ", "[", "]", "{", "}", "(", ")"),
    *("'", '"', "|", ";", "<", ">", "&amp;", "&#xD83D;", "é", "\u0301", "€", "%", "T", "Z", "+"),
    *("Oct", "Tue", "am", "UTC", "Europe/Berlin", "\\ud83d", "null", "true", "no", "1e5", "1e999"),
    *("NaN", "\u00a0", "\x00", "http://x"),
)
texts = st.none() | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
columns = st.lists(texts, max_size=6)
asked = st.sampled_from([None, "text", "list", "number", "boolean"])


@settings(max_examples=20, deadline=None)
@given(columns, asked)
def test_any_column_becomes_an_attribute(column, kind):
    values = pl.Series(column, dtype=pl.String)
    attribute = infer_attribute("x", values, kind).attribute
    assert len(attribute.values) == len(column)
    assert kind in (None, attribute.kind)
    attributes = ItemAttributes([attribute], len(column))
    for item_index in range(1, len(column) + 1):
        assert item_text(attributes, item_index, "id").encode()


@settings(max_examples=20, deadline=None)
@given(columns)
def test_any_column_is_read_as_times(column):
    with contextlib.suppress(AmbiguousDatesError):
        assert len(read_times(pl.Series(column, dtype=pl.String)).seconds) == len(column)
