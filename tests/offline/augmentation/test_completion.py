"""Missing attributes are asked for once, validated, kept on disk, counted, and used by networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from model_store.attributes import Attribute, ItemAttributes
from model_store.errors import ConfigError
from model_store.id_map import IdMap
from offline.augmentation.completion import CompletionReport, cache_file, complete, plan
from offline.augmentation.completion_config import CompletionConfig
from offline.build import Build
from offline.inputs import find_source
from offline.knowledge.language_model import Sampling
from offline.knowledge.prompt import Prompt
from offline.rating.fields import ItemFields
from offline.recipe import Recipe
from offline.stages.completion import CompletionStage
from offline.stages.data import DataArtifact
from tests.offline.instruction.tiny_models import make_llama, make_tokenizer
from tests.offline.knowledge.stand_ins import RecitingModel
from tests.offline.rating.tiny_files import N_ITEMS, write_rated_files

IDS = IdMap(["a", "b", "c", "d"])
CATALOGUE = ItemAttributes(
    [
        Attribute("title", "text", ["Alien", "Heat", "Solaris", "Babe"]),
        Attribute("genre", "text", ["sci-fi", None, "sci-fi", "family"]),
        Attribute("year", "number", [1979, 1995, None, 1995]),
    ],
    4,
)
DIRECTOR = {"name": "director", "examples": {"a": "Ridley Scott"}}


def config(*attributes: object, **choices: object) -> CompletionConfig:
    return CompletionConfig.model_validate({"attributes": attributes, **choices})


def recite(prompt: Prompt, _: Sampling) -> str:
    title = prompt.item.split("\n")[0].removeprefix("Title: ")
    director = "unknown" if title == "Babe" else f"the maker of {title}"
    return f"{prompt.answer_begins} {director}\nGenre: Western\nYear: 2001"


def run(
    choices: CompletionConfig,
    cache: Path,
    model: RecitingModel,
    interactions: Sequence[int] = (0, 1, 1, 1, 1),
) -> tuple[ItemAttributes, CompletionReport]:
    known, wanted = plan(CATALOGUE, IDS, choices)
    counts = np.array(interactions)
    return complete(known, IDS, wanted, choices, cache, counts, model.open)


def values(attributes: ItemAttributes, name: str) -> list[object]:
    column = attributes.get(name)
    assert column is not None
    return [*column.values]


def test_what_is_missing_is_asked_for_with_examples_and_counted(tmp_path: Path) -> None:
    model = RecitingModel(recite, prompts_at_a_time=2)
    found, report = run(config(DIRECTOR), tmp_path, model)
    assert values(found, "director") == [
        "Ridley Scott", "the maker of Heat", "the maker of Solaris", None,
    ]  # fmt: skip
    counts = {"missing": 3, "completed": 2, "left": 1, "as_in_an_example": 0}
    assert report.attributes == {"director": counts}
    assert (report.asked, report.cached, report.generated) == (3, 0, 3)
    prompt = model.asked[0][0]
    assert "Title: Alien\nGenre: sci-fi\nYear: 1979\nDirector: Ridley Scott\n\n" in prompt.ask
    assert prompt.ask.endswith("Title: Heat\nYear: 1995")


def test_answers_are_asked_for_once_though_a_run_was_killed(tmp_path: Path) -> None:
    def killed(prompt: Prompt, sampling: Sampling) -> str:
        if prompt.item.startswith("Title: Solaris"):
            raise KeyboardInterrupt
        return recite(prompt, sampling)

    with pytest.raises(KeyboardInterrupt):
        run(config(DIRECTOR), tmp_path, RecitingModel(killed, prompts_at_a_time=1))
    model = RecitingModel(recite)
    _, report = run(config(DIRECTOR), tmp_path, model)
    assert model.titles_asked() == ["Alien", "Alien"]  # the example of the two other prompts
    assert (report.cached, report.generated) == (1, 2)
    unused = RecitingModel(recite)
    stricter = DIRECTOR | {"allowed": ["the maker of Heat"]}
    found, _ = run(config(stricter), tmp_path, unused)
    assert unused.opened == 0
    assert values(found, "director") == ["Ridley Scott", "the maker of Heat", None, None]
    assert cache_file(config(DIRECTOR), tmp_path).is_file()


def test_values_beyond_those_of_the_catalogue_are_no_answers(tmp_path: Path) -> None:
    """Its texts are the only ones, and its numbers a range; what it has is never replaced."""
    asked = config({"name": "genre"}, {"name": "year", "kind": "number"})
    found, report = run(asked, tmp_path, RecitingModel(recite))
    assert found == CATALOGUE
    assert report.attributes["genre"]["completed"] == 0
    assert report.attributes["genre"]["left"] == 1
    right = RecitingModel(lambda prompt, _: f"{prompt.answer_begins} Family\nYear: 1981")
    found, report = run(asked, tmp_path / "other", right)
    assert report.attributes["genre"]["as_in_an_example"] == 2  # family is, of both that were asked
    assert values(found, "genre") == ["sci-fi", "family", "sci-fi", "family"]
    assert values(found, "year") == [1979, 1995, 1981, 1995]


def test_the_items_with_the_most_interactions_are_asked_about(tmp_path: Path) -> None:
    model = RecitingModel(recite)
    asked = config(DIRECTOR, max_items=1)
    found, report = run(asked, tmp_path, model, interactions=(0, 9, 1, 3, 2))
    assert values(found, "director") == ["Ridley Scott", None, "the maker of Solaris", None]
    assert report.asked == 1


def test_nothing_missing_opens_no_model(tmp_path: Path) -> None:
    model = RecitingModel(recite)
    _, report = run(config({"name": "title"}), tmp_path, model)
    assert (model.opened, report.asked) == (0, 0)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ({"name": "director"}, "no item has a value of each of director; give examples"),
        ({"name": "director", "examples": {"z": "X"}}, "example of item 'z', which the data don't"),
        ({"name": "year"}, "attribute 'year' is a number, not a text"),
    ],
)
def test_what_can_not_be_asked_is_named(
    tmp_path: Path, attribute: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(config(attribute), tmp_path, RecitingModel(recite))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([{"name": "x", "kind": "number", "examples": {"a": "three"}}], "'three' of 'a' is no num"),
        ([{"name": "x"}, {"name": "x"}], "'x' is given twice"),
        ([{"name": "x", "kind": "number", "allowed": ["1"]}], "allowed: names texts"),
    ],
)
def test_choices_that_do_not_fit_are_rejected(attributes: list[object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(*attributes)


@pytest.mark.slow
def test_a_build_completes_attributes_and_its_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's words are noise, so that the one film with a director has the only valid one."""
    files = write_rated_files(tmp_path)
    monkeypatch.setenv("LONGTAIL_CACHE_DIR", str(tmp_path / "cache"))
    make_llama().save_pretrained(tmp_path / "llm")
    make_tokenizer().save_pretrained(tmp_path / "llm")
    attribute = {"name": "tone", "allowed": ["dark", "light"], "examples": {"i1": "dark"}}
    recipe = Recipe.model_validate(
        {
            "description": "tiny",
            "kind": "rating",
            "rating": {"network": "nfm", "epochs": 1},
            "completion": {
                "attributes": [attribute],
                "model": str(tmp_path / "llm"),
                "max_new_tokens": 8,
            },
        }
    )
    source = find_source(str(files / "ratings.csv"), str(files / "items.csv"), None)
    bundle = Build(source, recipe, tmp_path / "build", log=lambda _: None).run()
    report = json.loads((bundle / "report.json").read_text())["facts"]["completion"]
    assert (report["asked"], report["attributes"]["tone"]["missing"]) == (N_ITEMS - 1, N_ITEMS - 1)
    page = (tmp_path / "build" / "rating_evaluate" / "report.md").read_text()
    assert "tone, 0 of 19 missing values (0 as in an example)" in page
    assert "tone" not in json.loads((bundle / "attributes.json").read_text())["attributes"]
    data = DataArtifact.read(tmp_path / "build" / "data")
    assert data is not None
    artifact = CompletionStage(data, recipe.completion).artifact.read(tmp_path / "build/completion")
    assert artifact is not None
    grown = artifact.attributes()
    assert np.array_equal(
        ItemFields.load(tmp_path / "build" / "ratings").values, ItemFields.of(grown).values
    )
    assert values(grown, "tone")[:3] == [None, "dark", None]
