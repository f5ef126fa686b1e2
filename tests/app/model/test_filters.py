from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.requests import Filter
from app.model.filters import FilterIndex
from model_store.attributes import Attribute, ItemAttributes
from model_store.errors import InvalidField

texts = st.sampled_from(["a", "b", "c"])
some_texts = st.none() | st.lists(texts | st.just("unknown"), min_size=1, max_size=3)
numbers = st.integers(-3, 3) | st.sampled_from([0.5, -0.5])
bound = st.none() | numbers


@st.composite
def catalogues(draw: st.DrawFn) -> ItemAttributes:
    n = draw(st.integers(1, 40))
    columns = {
        "color": draw(st.lists(st.none() | texts, min_size=n, max_size=n)),
        "genres": draw(st.lists(st.none() | st.lists(texts, max_size=4), min_size=n, max_size=n)),
        "year": draw(st.lists(st.none() | numbers, min_size=n, max_size=n)),
    }
    return ItemAttributes(
        [
            Attribute("color", "text", columns["color"]),
            Attribute("genres", "list", columns["genres"]),
            Attribute("year", "number", columns["year"]),
        ],
        n,
    )


def rule(**parts: object) -> Filter | None:
    given_parts = {name: part for name, part in parts.items() if part is not None}
    return Filter(**given_parts) if given_parts else None  # type: ignore[arg-type]


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Filter]:
    found = {
        "color": rule(any=draw(some_texts), none=draw(some_texts)),
        "genres": rule(any=draw(some_texts), all=draw(some_texts), none=draw(some_texts)),
        "year": rule(gte=draw(bound), lte=draw(bound)),
    }
    return {name: one for name, one in found.items() if one}


def passes(value: object, one: Filter) -> bool:
    if one.gte is not None or one.lte is not None:
        if value is None:
            return False
        number = float(value)  # type: ignore[arg-type]
        above = one.gte is None or number >= one.gte
        return above and (one.lte is None or number <= one.lte)
    values = set() if value is None else {value} if isinstance(value, str) else set(value)  # type: ignore[arg-type]
    return (
        (one.any is None or bool(values & set(one.any)))
        and (one.all is None or values >= set(one.all))
        and (one.none is None or not values & set(one.none))
    )


@given(catalogues(), rules())
def test_filters_equal_brute_force(attributes: ItemAttributes, filters: dict[str, Filter]) -> None:
    expected = [
        index
        for index in range(1, attributes.n_items + 1)
        if all(passes(attributes.row(index)[name], one) for name, one in filters.items())
    ]
    assert FilterIndex(attributes).matching(filters).tolist() == expected


def test_a_narrow_range_equals_a_wide_one_cut() -> None:
    n = 1_000
    index = FilterIndex(ItemAttributes([Attribute("year", "number", [*range(n)][::-1])], n))
    assert index.matching({"year": Filter(gte=10, lte=12)}).tolist() == [988, 989, 990]


@pytest.mark.parametrize(
    ("filters", "field", "said"),
    [
        ({"colour": Filter(any=["a"])}, "filters.colour", "color (text), genres (list), year"),
        ({"year": Filter(any=["1"])}, "filters.year.any", "'year' is a number: it takes gte, lte"),
        ({"genres": Filter(gte=1)}, "filters.genres.gte", "'genres' is a list"),
        ({"color": Filter(all=["a"])}, "filters.color.all", "'color' is a text"),
    ],
)
def test_a_filter_that_does_not_fit_is_named(
    filters: dict[str, Filter], field: str, said: str
) -> None:
    attributes = ItemAttributes(
        [
            Attribute("color", "text", ["a"]),
            Attribute("genres", "list", [["a"]]),
            Attribute("year", "number", [1]),
        ],
        1,
    )
    with pytest.raises(InvalidField) as caught:
        FilterIndex(attributes).matching(filters)
    assert caught.value.field == field
    assert said in caught.value.message
