from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.model import attribute_index
from app.model.filters import FilterIndex
from model_store import texts as texts_of_bundles
from model_store.attributes import Attribute, AttributeValue, ItemAttributes
from model_store.errors import InvalidField
from model_store.item_filter import Filter

law = settings(max_examples=60, deadline=None)
texts = st.sampled_from(["a", "b", "c"])
some_texts = st.none() | st.lists(texts | st.just("unknown"), min_size=1, max_size=3)
numbers = st.integers(-3, 3) | st.sampled_from([0.5, -0.5])
bound = st.none() | numbers
some_numbers = st.none() | st.lists(numbers, min_size=1, max_size=3)
some_booleans = st.none() | st.lists(st.booleans(), min_size=1, max_size=2)


@st.composite
def catalogues(draw: st.DrawFn) -> ItemAttributes:
    n = draw(st.integers(1, 40))
    columns = {
        "color": draw(st.lists(st.none() | texts, min_size=n, max_size=n)),
        "genres": draw(st.lists(st.none() | st.lists(texts, max_size=4), min_size=n, max_size=n)),
        "year": draw(st.lists(st.none() | numbers, min_size=n, max_size=n)),
        "new": draw(st.lists(st.none() | st.booleans(), min_size=n, max_size=n)),
    }
    return ItemAttributes(
        [
            Attribute("color", "text", columns["color"]),
            Attribute("genres", "list", columns["genres"]),
            Attribute("year", "number", columns["year"]),
            Attribute("new", "boolean", columns["new"]),
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
        "year": rule(
            gte=draw(bound), lte=draw(bound), any=draw(some_numbers), none=draw(some_numbers)
        ),
        "new": rule(any=draw(some_booleans), none=draw(some_booleans)),
    }
    return {name: one for name, one in found.items() if one}


def passes(value: object, one: Filter) -> bool:
    if one.gte is not None or one.lte is not None:
        if value is None:
            return False
        number = float(value)  # type: ignore[arg-type]
        above = one.gte is None or number >= one.gte
        if not (above and (one.lte is None or number <= one.lte)):
            return False
    values = values_of(value)
    return (
        (one.any is None or bool(values & set(one.any)))
        and (one.all is None or values >= set(one.all))
        and (one.none is None or not values & set(one.none))
    )


def values_of(value: object) -> set[object]:
    return set() if value is None else set(value) if isinstance(value, list) else {value}


def spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("at_once", [3, 4_096])
def test_filters_equal_brute_force(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts_of_bundles, "_AT_ONCE", at_once)

    @law
    @given(catalogues(), rules())
    def holds(attributes: ItemAttributes, filters: dict[str, Filter]) -> None:
        expected = [
            index
            for index in range(1, attributes.n_items + 1)
            if all(passes(attributes.row(index)[name], one) for name, one in filters.items())
        ]
        assert FilterIndex(attributes).match(filters).items.tolist() == expected

    holds()


@law
@given(catalogues(), rules())
def test_exactly_the_unmatched_filter_values_are_reported(
    attributes: ItemAttributes, filters: dict[str, Filter]
) -> None:
    expected: set[tuple[str, object]] = set()
    rows = [attributes.row(index) for index in range(1, attributes.n_items + 1)]
    for name, one in filters.items():
        ends = {side: at for side, at in (("gte", one.gte), ("lte", one.lte)) if at is not None}
        if ends and not any(passes(row[name], Filter(**ends)) for row in rows):  # type: ignore[arg-type]
            expected |= {(name, end) for end in ends.items()}
        present = set().union(*(values_of(row[name]) for row in rows))
        wanted = {*(one.any or ()), *(one.all or ()), *(one.none or ())}
        expected |= {(name, spelled(value)) for value in wanted - present}
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


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[int, str, AttributeValue]]:
    """New values of items, which are numbered beyond the catalogue's end."""
    values = {
        "color": st.none() | texts | st.just("new"),
        "genres": st.none() | st.lists(texts | st.just("new"), max_size=4),
        "year": st.none() | numbers,
        "new": st.none() | st.booleans(),
    }
    names = st.sampled_from([*values])
    one = names.flatmap(lambda name: st.tuples(st.integers(0, 99), st.just(name), values[name]))
    return draw(st.lists(one, max_size=30))


@pytest.mark.parametrize("max_changed", [0, 3, 1_000])
def test_a_changed_index_equals_one_of_the_changed_catalogue(
    max_changed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attribute_index, "MAX_CHANGED", max_changed)

    @law
    @given(catalogues(), st.lists(st.tuples(changes(), rules()), min_size=1, max_size=3))
    def holds(
        attributes: ItemAttributes,
        steps: list[tuple[list[tuple[int, str, AttributeValue]], dict[str, Filter]]],
    ) -> None:
        index = FilterIndex(attributes)
        for changed, filters in steps:
            for number, name, value in changed:
                item = number % attributes.n_items + 1
                before = attributes.change(item, name, value)
                index.change(item, name, before, value)
            found, expected = index.match(filters), FilterIndex(attributes).match(filters)
            assert found.items.tolist() == expected.items.tolist()
            assert found.items.dtype == np.int32
            assert set(found.unmatched) == set(expected.unmatched)

    holds()


def test_values_that_come_and_go_leave_nothing_behind() -> None:
    attributes = ItemAttributes([Attribute("seen", "text", ["first"])], 1)
    index = FilterIndex(attributes)
    for number in range(50):
        value = f"at {number}"
        index.change(1, "seen", attributes.change(1, "seen", value), value)
        if number % 2:
            assert index.match({"seen": Filter(any=[value])}).items.tolist() == [1]
    column: Any = index._columns["seen"]
    assert len(column._edits) + len(column._edited) < 6


VALUES = ItemAttributes(
    [
        Attribute("zip", "text", ["02134", "98111", None]),
        Attribute("year", "number", [1995, 1999.5, None]),
        Attribute("new", "boolean", [True, False, None]),
        Attribute("sizes", "list", [["7", "true"], ["7.5"], []]),
    ],
    3,
)


@pytest.mark.parametrize(
    ("name", "parts", "expected"),
    [
        ("new", '{"any": [true]}', [1]),
        ("new", '{"any": ["true", false]}', [1, 2]),
        ("new", '{"any": ["Ja"]}', [1]),
        ("new", '{"none": ["oui", "WAHR", true]}', [2, 3]),
        ("new", '{"any": ["nein", " no"]}', [2]),
        ("new", '{"none": [true]}', [2, 3]),
        ("zip", '{"any": [98111]}', [2]),
        ("zip", '{"any": [98111.0, "02134"]}', [1, 2]),
        ("year", '{"any": [1995]}', [1]),
        ("year", '{"any": ["1995", "1999.5", 7]}', [1, 2]),
        ("year", '{"none": [1995.0]}', [2, 3]),
        ("year", '{"none": [1995], "gte": 1990}', [2]),
        ("sizes", '{"any": [7]}', [1]),
        ("sizes", '{"all": [7, true]}', [1]),
        ("sizes", '{"any": [7.5]}', [2]),
    ],
)
def test_values_are_compared_as_the_attribute_asks_for(
    name: str, parts: str, expected: list[int]
) -> None:
    one = Filter.model_validate_json(parts)
    assert FilterIndex(VALUES).match({name: one}).items.tolist() == expected


@pytest.mark.parametrize(
    ("name", "parts", "message"),
    [
        ("new", {"gte": 1.0}, "'new' is a boolean: it takes any, none"),
        ("new", {"all": [True]}, "'new' is a boolean: it takes any, none"),
        ("year", {"all": [1995]}, "'year' is a number: it takes gte, lte, any, none"),
        ("year", {"any": [1995, "soon"]}, "'year' is a number, and 'soon' is none"),
        ("year", {"none": ["nan"]}, "'year' is a number, and 'nan' is none"),
        ("year", {"any": [True]}, "'year' is a number, and True is none"),
        ("new", {"any": ["maybe"]}, "'new' is a boolean, and 'maybe' is none"),
        ("new", {"any": [1.0]}, "'new' is a boolean, and 1.0 is none"),
    ],
)
def test_parts_that_do_not_fit_are_rejected(
    name: str, parts: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidField, match=message):
        FilterIndex(VALUES).match({name: Filter(**parts)})  # type: ignore[arg-type]


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
        begun = time.thread_time()
        found = many_values.match({attribute: rule})
        taken = time.thread_time() - begun
        assert rule.any or len(found.items) == n_expected
        return taken

    # Alternately, and the least of each: what else the machine does makes either take longer.
    rules = Filter(any=values), Filter.model_validate({part: values})
    any_s, part_s = np.min([[seconds(rule) for rule in rules] for _ in range(9)], axis=0)
    assert part_s < 3 * any_s + 0.001


def test_a_narrow_range_equals_a_wide_one_cut() -> None:
    n = 1_000
    index = FilterIndex(ItemAttributes([Attribute("year", "number", [*range(n)][::-1])], n))
    assert index.match({"year": Filter(gte=10, lte=12)}).items.tolist() == [988, 989, 990]


@pytest.mark.parametrize(
    ("filters", "field", "said"),
    [
        ({"colour": Filter(any=["a"])}, "filters.colour", "color (text), genres (list), year"),
        ({"year": Filter(all=["1"])}, "filters.year.all", "'year' is a number: it takes gte, lte"),
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
