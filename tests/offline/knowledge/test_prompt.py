from pathlib import Path

import pytest

from model_store.errors import ConfigError
from offline.knowledge.prompt import PROMPTS, read_template

VERSIONS = sorted(path.stem for path in PROMPTS.glob("*.txt"))
TOY_STORY = "Title: Toy Story\nYear: 1995\nGenres: Animation, Children's, Comedy"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_prompt_holds_the_template_and_the_item_text_and_nothing_else(version: str) -> None:
    template = read_template(version)
    prompt = template.fill(TOY_STORY, "film")
    around = [part.replace("{kind}", "film") for part in template.ask.split("{item}")]
    assert prompt.ask == TOY_STORY.join(around)
    assert prompt.answer_begins == template.answer_begins.replace("{kind}", "film")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bundled_prompt_asks_for_what_it_is_and_who_likes_it_and_why(version: str) -> None:
    ask = read_template(version).fill(TOY_STORY, "film").ask
    assert TOY_STORY in ask
    for word in ("what", "film", "person", "likes", "why"):
        assert word in ask.lower()


def test_a_title_that_looks_like_a_placeholder_stays_a_title() -> None:
    prompt = read_template("v1").fill("Title: {kind} {item}", "film")
    assert prompt.ask.startswith("Title: {kind} {item}\n")


def test_a_prompt_file_of_ones_own_is_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "soap.txt"
    path.write_text("[ask]\nDescribe this {kind}: {item}\n[answer begins]\n")
    template = read_template(str(path))
    prompt = template.fill("Title: Lavender", "soap")
    assert template.version == "soap"
    assert (prompt.ask, prompt.answer_begins) == ("Describe this soap: Title: Lavender", "")


@pytest.mark.parametrize(
    "text", ["{item}", "[ask]\n{item}\n", "[ask]\nno item\n[answer begins]\n", "x[ask]\n{item}"]
)
def test_a_prompt_file_without_its_parts_is_rejected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.txt"):
        read_template(str(path))


def test_an_unknown_version_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"v99.*v1"):
        read_template("v99")
