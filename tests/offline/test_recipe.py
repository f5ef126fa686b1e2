"""Which recipe a build takes where nobody names one."""

from __future__ import annotations

import pytest

from offline.recipe import read_recipe, recipe_names, suited_recipe


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
