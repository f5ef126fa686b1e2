from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.bundle import Bundle
from model_store.errors import InputError
from model_store.knowledge_texts import (
    MAX_TEXT_BYTES,
    SHORT_CHARACTERS,
    KnowledgeSource,
    KnowledgeText,
    KnowledgeTexts,
    TextArrays,
)
from tests.synthetic_bundle import MADE_ON, SOURCE, make_bundle, make_catalogue

WRITTEN = KnowledgeSource(model="m", prompt="v1", aligned=True)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=20))
def test_texts_come_back_whatever_their_letters(texts: list[str]) -> None:
    days = [date(2026, 1, 1 + row) if text else None for row, text in enumerate(texts)]
    arrays = TextArrays.of(texts, days)
    rows = range(1, len(texts) + 1)
    assert arrays.text_of(0) == ""
    assert [arrays.text_of(row) for row in rows] == texts
    assert [arrays.day_of(row) for row in rows] == days
    arrays.check_layouts(Path("bundle"), len(texts))
    arrays.check(Path("bundle"), sum(map(bool, texts)), lambda: None)


def test_a_bundle_gives_back_its_texts_with_their_provenance(bundles: Path) -> None:
    bundle = make_bundle(bundles / "made-1")
    texts, made = Bundle.open(bundle.folder).knowledge_texts, make_catalogue()
    for item_index, text in enumerate(made.texts, start=1):
        assert texts.text_of(item_index) == (text or None)
    assert texts.get(1) == KnowledgeText(text=made.texts[0], source=SOURCE, made_on=MADE_ON)
    assert texts.get(7) is None


def test_texts_are_mapped_and_no_string_is_kept(bundles: Path) -> None:
    texts = make_bundle(bundles / "made-1").knowledge_texts
    assert texts.arrays is not None
    for array in (texts.arrays.text, texts.arrays.offsets, texts.arrays.days):
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable
    assert texts.text_of(1) is not texts.text_of(1)


def test_a_bundle_of_before_has_no_texts(bundles: Path) -> None:
    texts = make_bundle(bundles / "made-1", with_texts=False).knowledge_texts
    assert texts.text_of(1) is texts.short_of(1) is texts.get(60) is None


def test_fresh_items_come_after_those_of_the_catalogue() -> None:
    texts = KnowledgeTexts(2, WRITTEN, TextArrays.of(["one", "two"], [None, None]))
    new = KnowledgeText(text="new", source=WRITTEN, made_on=date(2026, 2, 3))
    grown = texts.extended([None]).extended([new])
    assert [grown.text_of(index) for index in range(1, 5)] == ["one", "two", None, "new"]
    assert grown.get(4) == new
    assert grown.get(2) == KnowledgeText(text="two", source=WRITTEN, made_on=None)
    assert KnowledgeTexts(2).extended([new]).text_of(3) == "new"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("a film", "a film"),
        ("word " * 40, "word " * 31 + "word…"),
        ("x" * 300, "x" * (SHORT_CHARACTERS - 1) + "…"),
        ("y" * SHORT_CHARACTERS, "y" * SHORT_CHARACTERS),
    ],
)
def test_the_short_form_ends_after_a_word(text: str, short: str) -> None:
    texts = KnowledgeTexts(1, WRITTEN, TextArrays.of([text], [None]))
    assert texts.short_of(1) == short
    assert len(short) <= SHORT_CHARACTERS


def test_a_text_that_no_bundle_could_hold_is_named() -> None:
    with pytest.raises(InputError, match="item_index 2: 65,538 bytes, the limit is 65,536"):
        TextArrays.of(["", "é" * (MAX_TEXT_BYTES // 2 + 1)], [None, None])
    with pytest.raises(InputError, match="item_index 1: is not Unicode text"):
        TextArrays.of(["half \ud83c of a pair"], [None])
