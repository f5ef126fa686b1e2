"""`longtail knowledge show`: of a bundle, and of the active version with its fresh items."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import redis

import longtail
from model_store import keys
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.knowledge_texts import KnowledgeSource, KnowledgeText
from offline.item_description import describe_item
from tests.app.conftest import publish_and_activate
from tests.synthetic_bundle import make_bundle, make_catalogue

ALIGNED = KnowledgeSource(model="big-llm", prompt="v2", aligned=True)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "made-1")


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Values by label."""
    values: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        values.setdefault(line[:10].strip(), []).append(line[10:])
    return values


def test_an_item_of_a_bundle(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert longtail.main(["knowledge", "show", "i4", "--bundle", str(bundle.folder)]) == 0
    made, said = make_catalogue(), shown(capsys)
    title = made.attributes.row(4)["title"]
    assert said["item"] == [f"i4  {title}"]
    assert said["version"] == ["made-1"]
    assert said["text"] == [made.texts[3]]
    assert said["written"] == ["2026-01-02 by a language model, prompt v1, not aligned"]
    assert said["vector"] == ["6 numbers, length 1.000"]
    cosines = made.knowledge @ made.knowledge[4]
    cosines[[0, 4]] = -1
    best = np.argsort(-cosines, kind="stable")[:5]
    assert [line.split("  ")[:2] for line in said["near"]] == [
        [f"{cosines[near]:.3f}", f"i{near}"] for near in best
    ]


def test_an_item_without_a_text_and_a_version_without_vectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = make_bundle(tmp_path / "plain", with_encoder=False)
    assert longtail.main(["knowledge", "show", "i7", "--bundle", str(plain.folder)]) == 0
    said = shown(capsys)
    assert (said["text"], said["vector"]) == (
        ["none"],
        ["none: the version has no knowledge vectors"],
    )
    assert "written" not in said
    assert "near" not in said


def test_the_active_version_with_its_fresh_items(
    bundle: Bundle,
    store: EmbeddedStore,
    client: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    monkeypatch.setenv("LONGTAIL_BUNDLES_DIR", str(tmp_path / "bundles"))
    assert longtail.main(["knowledge", "show", "new"]) == 1
    assert "no version is active; name a bundle with --bundle" in capsys.readouterr().err
    publish_and_activate(bundle, tmp_path, store.url)
    vector = np.full(6, 6**-0.5, np.float32)  # no item of the catalogue is as near as the other
    text = KnowledgeText(text="Word " * 40, source=ALIGNED, made_on=date(2026, 5, 6))
    fresh = [FreshItem("new", vector, {"title": "New"}, text), FreshItem("bare", vector, {})]
    publish_fresh(fresh, client, encoder="made")
    client.rpush(keys.fresh_key("made-1"), "without a vector")
    assert longtail.main(["knowledge", "show", "new"]) == 0
    said = shown(capsys)
    assert (said["item"], said["version"]) == (["new  New"], ["made-1, fresh item"])
    # A text may take several lines, of which the first has the label.
    assert " ".join(said["text"] + said[""]) == text.text.strip()
    assert said["written"] == ["2026-05-06 by big-llm, prompt v2, aligned"]
    assert said["near"][0] == "1.000  bare"
    assert len(said["near"]) == 5
    assert longtail.main(["knowledge", "show", "bare"]) == 0
    assert shown(capsys)["near"][0] == "1.000  new  New"


def test_an_item_without_a_vector_has_no_neighbours(bundle: Bundle) -> None:
    nothing = FreshItem("new", np.zeros(6, np.float32), {})
    described = describe_item("new", bundle, [nothing])
    assert (described.vector_length, described.near) == (0.0, ())
    assert "new" not in {near.item_id for near in describe_item("i4", bundle, [nothing]).near}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nobody", "--bundle", "{bundle}"],
            "item 'nobody' is unknown to version 'made-1', which has 60 items",
        ),
        (["i1", "--bundle", "{bundle}/nowhere"], "no bundle here"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = [argument.format(bundle=bundle.folder) for argument in arguments]
    assert longtail.main(["knowledge", "show", *given]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
