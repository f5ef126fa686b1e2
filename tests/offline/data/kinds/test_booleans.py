from pathlib import Path

import polars as pl
import pytest

from model_store.truth_words import TRUTH_WORDS, truth_of
from offline.data.kinds.booleans import read_booleans

DATA_PAGE = Path(__file__).parents[4] / "docs" / "data.md"


@pytest.mark.parametrize(("true", "false"), TRUTH_WORDS)
def test_a_column_and_a_filter_take_the_words_that_the_document_lists(true, false):
    read = read_booleans(pl.Series([true, false.upper(), None, f" {true.title()} "]))
    assert read is not None
    assert read[0].to_list() == [True, False, None, True]
    assert (truth_of(f" {true.upper()}"), truth_of(false)) == (True, False)
    assert f"`{true}`/`{false}`" in DATA_PAGE.read_text()


def test_other_words_say_nothing():
    for word in ("", "maybe", "1", "0", "jain", "true/false"):
        assert truth_of(word) is None
