"""Which recipe a build takes where nobody names one."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from offline.recipe import Recipe, read_recipe, recipe_names, suited_recipe


@pytest.mark.parametrize(
    ("n_interactions", "n_items", "name"),
    [
        (100_000, 1_682, "default"),  # MovieLens-100K
        (1_000_209, 3_706, "default"),  # MovieLens-1M
        (198_502, 12_101, "sparse"),  # Amazon Beauty
        (150_000, 12_000, "sparse"),
    ],
)
def test_the_recipe_suits_how_many_interactions_an_item_has(
    n_interactions: int, n_items: int, name: str
) -> None:
    assert suited_recipe(n_interactions, n_items) == name
    assert name in recipe_names()


@pytest.mark.parametrize("name", ["default", "sparse"])
def test_a_recipe_that_nobody_named_is_one_sasrec_network_and_generates_nothing(name: str) -> None:
    recipe = read_recipe(name)
    assert (recipe.recommender.backbone, recipe.recommender.members) == ("sasrec", 1)
    assert not recipe.knowledge.generates


def test_the_keys_that_a_recipe_sets_are_few() -> None:
    recipe = read_recipe("default").with_changes(data={"repeats": "runs"}, training={"seed": 4})
    keys = recipe.chosen_keys()
    assert keys["data.repeats"] == "runs"
    assert keys["training.seed"] == 4
    assert keys["training.decay"] == "cosine"
    assert keys["description"] == recipe.description
    assert len(keys) < 15


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"recommender": {"id_init": "text"}}, "id_init"),
        ({"recommender": {"knowledge_beside_ids": True}}, "knowledge_beside_ids"),
        ({"behaviour": {"stages": ["ft1"]}}, "behaviour.stages"),
    ],
)
def test_a_recipe_without_an_encoder_reads_no_texts(
    tables: dict[str, dict[str, object]], key: str
) -> None:
    without = read_recipe("ids").with_changes(encoding={"encoder": "none"})
    assert not without.encoding.encodes
    with pytest.raises(ValidationError, match=rf"encoder = 'none': .*{key}.* needs an encoder"):
        without.with_changes(**tables)


@pytest.mark.parametrize(
    ("name", "tables", "message"),
    [
        ("lightgcn", {"training": {"seed": 1}}, r"kind = 'direct': nothing reads \[training\]"),
        ("mf", {"reranking": {"tune": True}}, r"kind = 'direct': nothing reads \[reranking\]"),
        ("ids", {"direct": {"seed": 1}}, r"kind = 'sequential': nothing reads \[direct\]"),
        ("mf", {"direct": {"layers": 2}}, "layers"),
    ],
)
def test_a_recipe_has_the_tables_of_its_kind_alone(
    name: str, tables: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        read_recipe(name).with_changes(**tables)


@pytest.mark.parametrize("name", recipe_names())
def test_what_a_bundle_says_of_its_recipe_can_be_read_back(name: str) -> None:
    described = read_recipe(name).described()
    again = Recipe.model_validate(json.loads(json.dumps(described)))
    assert again.kind == described["kind"]
    assert again.described() == described


def test_a_seed_goes_into_the_table_of_the_kinds_training() -> None:
    assert read_recipe("sgl").seed_table == "direct"
    assert read_recipe("ids").seed_table == "training"


def test_a_direct_model_gets_no_reranker() -> None:
    assert read_recipe("default").reranking_on("movielens-100k") is not None
    assert read_recipe("lightgcn").reranking_on("movielens-100k") is None
