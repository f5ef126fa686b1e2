from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.http.requests import Filter
from app.model.filters import FilterIndex
from model_store.attributes import Attribute, ItemAttributes
from model_store.errors import InvalidField

law = settings(max_examples=60, deadline=None)
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


@law
@given(catalogues(), rules())
def test_filters_equal_brute_force(attributes: ItemAttributes, filters: dict[str, Filter]) -> None:
    expected = [
        index
        for index in range(1, attributes.n_items + 1)
        if all(passes(attributes.row(index)[name], one) for name, one in filters.items())
    ]
    assert FilterIndex(attributes).match(filters).items.tolist() == expected


def values_of(value: object) -> set[str]:
    if value is None:
        return set()
    return {value} if isinstance(value, str) else set(value)  # type: ignore[arg-type]


@law
@given(catalogues(), rules())
def test_exactly_the_unmatched_filter_values_are_reported(
    attributes: ItemAttributes, filters: dict[str, Filter]
) -> None:
    expected: set[tuple[str, object]] = set()
    rows = [attributes.row(index) for index in range(1, attributes.n_items + 1)]
    for name, one in filters.items():
        if name == "year":
            if not any(passes(row[name], one) for row in rows):
                sides = {"gte": one.gte, "lte": one.lte}
                expected |= {(name, (side, at)) for side, at in sides.items() if at is not None}
        else:
            present = set().union(*(values_of(row[name]) for row in rows))
            wanted = {*(one.any or ()), *(one.all or ()), *(one.none or ())}
            expected |= {(name, value) for value in wanted - present}
    assert set(FilterIndex(attributes).match(filters).unmatched) == expected


@law
@given(catalogues(), st.lists(texts | st.just("unknown"), min_size=1, max_size=4), st.data())
def test_filters_are_an_algebra_of_sets(
    attributes: ItemAttributes, values: list[str], data: st.DataObject
) -> None:
    index = FilterIndex(attributes)
    everything = set(range(1, attributes.n_items + 1))

    def items(**parts: object) -> set[int]:
        found = index.match({"genres": Filter(**parts)}).items  # type: ignore[arg-type]
        assert found.dtype == np.int32
        assert found.tolist() == sorted(set(found.tolist()))
        return set(found.tolist())

    assert items(any=values) == set().union(*(items(any=[value]) for value in values))
    assert items(all=values) == everything.intersection(*(items(any=[v]) for v in values))
    assert items(none=values) == everything - items(any=values)
    shuffled = data.draw(st.permutations(values * 2))
    for part in ("any", "all", "none"):
        assert items(**{part: shuffled}) == items(**{part: values})
    assert items(any=values, none=values) == set()


@pytest.fixture(scope="module")
def many_values() -> FilterIndex:
    """100,000 items; each has 3 of 1,000 tags, ten have all of them; and one of 1,000 makers."""
    n, tags = 100_000, [f"t{n}" for n in range(1_000)]
    lists = [[tags[i % 1_000], tags[i * 7 % 1_000], tags[i * 31 % 1_000]] for i in range(n - 10)]
    texts_ = [f"m{i % 1_000}" for i in range(n)]
    columns = [
        Attribute("tags", "list", [*lists, *[tags] * 10]),
        Attribute("maker", "text", texts_),
    ]
    return FilterIndex(ItemAttributes(columns, n))


@pytest.mark.alone
@pytest.mark.parametrize(
    ("attribute", "part", "n_expected"),
    [("maker", "none", 0), ("tags", "none", 0), ("tags", "all", 10)],
)
def test_a_thousand_values_take_no_longer_in_one_part_than_in_another(
    many_values: FilterIndex, attribute: str, part: str, n_expected: int
) -> None:
    values = [f"{attribute[0]}{n}" for n in range(1_000)]

    def seconds(rule: Filter) -> float:
        taken = []
        for _ in range(5):
            begun = time.perf_counter()
            found = many_values.match({attribute: rule})
            taken.append(time.perf_counter() - begun)
        assert rule.any or len(found.items) == n_expected
        return min(taken)

    any_s = seconds(Filter(any=values))
    assert seconds(Filter.model_validate({part: values})) < 3 * any_s + 0.001


def test_a_narrow_range_equals_a_wide_one_cut() -> None:
    n = 1_000
    index = FilterIndex(ItemAttributes([Attribute("year", "number", [*range(n)][::-1])], n))
    assert index.match({"year": Filter(gte=10, lte=12)}).items.tolist() == [988, 989, 990]


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
        FilterIndex(attributes).match(filters)
    assert caught.value.field == field
    assert said in caught.value.message
