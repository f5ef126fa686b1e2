from __future__ import annotations

import pytest

from model_store.attributes import Attribute, AttributeValue, ItemAttributes
from offline.augmentation.attributes import (
    Example,
    Wanted,
    augmented_attributes,
    completion_prompt,
    parse_completion,
)

DIRECTOR = Wanted("director")
STARS = Wanted("movie_stars", "list")
PAGES = Wanted("page_length", "number")
GENRE = Wanted("genre", allowed=("Drama", "Sci-Fi"))
YEAR = Wanted("year", "number", within=(1922, 1998))
EXAMPLES = [
    Example("Title: Alien (1979)", {"director": "Ridley Scott", "movie_stars": "Sigourney Weaver"})
]


def test_the_prompt_shows_examples_and_ends_where_the_answer_begins() -> None:
    prompt = completion_prompt("Title: Heat (1995)", EXAMPLES, [DIRECTOR, STARS])
    assert prompt.ask.endswith(
        "Title: Alien (1979)\nDirector: Ridley Scott\nMovie stars: Sigourney Weaver\n\n"
        "Title: Heat (1995)"
    )
    assert prompt.answer_begins == "Director:"


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (DIRECTOR, " Michael Mann.", "Michael Mann"),
        (DIRECTOR, "Unknown", None),
        (DIRECTOR, "  ", None),
        (DIRECTOR, "x" * 81, None),
        (DIRECTOR, "\ud800", None),
        (STARS, "Al Pacino, Robert De Niro, Al Pacino, unknown", ["Al Pacino", "Robert De Niro"]),
        (STARS, "n/a", None),
        (PAGES, "1,216", 1216),
        (PAGES, "12.5", 12.5),
        (PAGES, "about 300", None),
        (PAGES, "9" * 40, None),
        (GENRE, "drama", "Drama"),
        (GENRE, "Musical", None),
        (YEAR, "1995", 1995),
        (YEAR, "2020", None),
    ],
)
def test_values_are_validated(wanted: Wanted, text: str, value: AttributeValue) -> None:
    assert wanted.parse(text) == value


def test_an_answer_is_read_up_to_the_models_own_next_item() -> None:
    answer = (
        "Director: Michael Mann\nmovie stars: Al Pacino\nDirector: Another\nPlot: long\n\n"
        "Title: Next\nGenre: Drama"
    )
    assert parse_completion(answer, [DIRECTOR, STARS, GENRE]) == {
        "director": "Michael Mann",
        "movie_stars": ["Al Pacino"],
    }


def test_known_values_stay_and_missing_ones_are_filled() -> None:
    known = ItemAttributes(
        [Attribute("director", "text", ["A", None, None]), Attribute("title", "text", list("xyz"))],
        3,
    )
    completed = {1: {"director": "B"}, 2: {"director": "C", "page_length": 7}}
    grown = augmented_attributes(known, completed, [DIRECTOR, PAGES])
    assert grown.names == ("director", "title", "page_length")
    assert [grown.row(item) for item in (1, 2, 3)] == [
        {"director": "A", "title": "x", "page_length": None},
        {"director": "C", "title": "y", "page_length": 7},
        {"director": None, "title": "z", "page_length": None},
    ]
    with pytest.raises(ValueError, match="'title' is a text, not a number"):
        augmented_attributes(known, {}, [Wanted("title", "number")])
