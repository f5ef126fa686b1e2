from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from model_store.errors import ConfigError, InputError
from offline.benchmark.alignment_grid import AlignmentGrid
from offline.benchmark.cells import BASELINES, GridRun
from offline.benchmark.command import benchmark, find_sources, parse_places
from offline.benchmark.grid import GRIDS, Grid, grid_names, read_grid
from offline.benchmark.grid_kinds import name_of, open_grid
from offline.benchmark.rating_grid import RatingGrid
from offline.inputs import find_source
from offline.recommender.config import Gru4recConfig

GRID = """
description = "a grid"
reference = "ids"
seeds = [3]

[[data]]
name = "movielens-100k"
changes.training.epochs = 7

[[data]]
name = "mine"

[[entries]]
name = "ids"
recipe = "ids"

[[entries]]
name = "Wide IDs"
recipe = "ids"
changes.recommender.embedding_size = 128
on.mine.training.epochs = 9
"""


def write(folder: Path, text: str) -> str:
    path = folder / "grid.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", grid_names())
def test_every_grid_that_comes_along_fits_its_recipes(name: str) -> None:
    grid = open_grid(name)
    for choice in grid.data:
        if isinstance(grid, Grid):
            for entry in grid.entries_on(choice.name):
                recipe = grid.recipe_of(choice, entry, 5)
                assert getattr(recipe, recipe.seed_table).seed == 5
        elif isinstance(grid, AlignmentGrid):
            table = grid.table(with_reference=True)
            n_entries = len(grid.backbones) * len(grid.rows) * len(grid.shares)
            assert len(table.entries) == n_entries
            for entry in table.entries:
                assert table.recipe_of(choice, entry, 5).training.seed == 5
        elif isinstance(grid, RatingGrid):
            for entry in grid.entries_on(choice.name):
                assert grid.recipe_of(choice, entry, 5).rating.seed == 5
        else:
            assert grid.recipe_of(choice, 5).training.seed == 5
            assert grid.augmented_recipe(choice, 5).augments


def test_changes_go_from_the_general_to_the_special(tmp_path: Path) -> None:
    grid = read_grid(write(tmp_path, GRID))
    first, mine = grid.data
    _, wide = grid.entries
    assert grid.recipe_of(first, wide, 3).training.epochs == 7
    assert grid.recipe_of(mine, wide, 3).training.epochs == 9
    assert grid.recipe_of(mine, wide, 3).recommender.embedding_size == 128
    assert wide.slug == "wide-ids"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('reference = "ids"', 'reference = "other"', "'other'"),
        ('name = "Wide IDs"', 'name = "IDs"', "'ids' is given twice"),
        ("on.mine", "on.theirs", "'theirs'"),
        ("seeds = [3]", "seeds = []", "seeds"),
        ("seeds = [3]", "seed = [3]", "seed"),
        ("[[data]]", "[data", "not TOML"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_grid(write(tmp_path, GRID.replace(old, new, 1)))


def test_entries_on_a_data_set_use_the_same_interactions(tmp_path: Path) -> None:
    """They are compared on the same cases; a data set may have a choice of its own."""
    change = "recommender.embedding_size = 128"
    mixed = read_grid(write(tmp_path, GRID.replace(change, 'data.repeats = "runs"')))
    with pytest.raises(ConfigError, match="'Wide IDs' on movielens-100k: data: differs"):
        mixed.check()
    other = read_grid(write(tmp_path, GRID.replace(change, "events.positive_from = 4")))
    with pytest.raises(ConfigError, match="'Wide IDs' on movielens-100k: events: differs"):
        other.check()
    shared = GRID.replace('name = "mine"', 'name = "mine"\nchanges.data.repeats = "runs"')
    grid = read_grid(write(tmp_path, shared))
    grid.check()
    assert [grid.data_choices_on(choice)[0].repeats for choice in grid.data] == ["keep", "runs"]


@pytest.mark.parametrize("change", ["recommender.size = 3", "recomender.layers = 3"])
def test_a_change_that_fits_no_recipe_is_named_with_its_entry(tmp_path: Path, change: str) -> None:
    text = GRID.replace("recommender.embedding_size = 128", change)
    grid = read_grid(write(tmp_path, text))
    with pytest.raises(ConfigError, match="'Wide IDs' on mine"):
        grid.recipe_of(grid.data[1], grid.entries[1], 0)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("recommender.embedding_size = 128", "recommender.size = 3", "'Wide IDs' on movielens-1"),
        ("training.epochs = 9", "training.epochs = 0", "'Wide IDs' on mine"),
        ('recipe = "ids"\nchanges', 'recipe = "nothing"\nchanges', "recipe 'nothing'"),
        ("recommender.embedding_size = 128", 'encoding.encoder = "a/b/c"', "'Wide IDs' .* 'a/b/c'"),
    ],
)
def test_a_fault_of_the_last_entry_is_reported_before_any_work(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    places = {"movielens-100k": str(tmp_path), "mine": str(tmp_path)}
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\na,b,1\n")
    assert old in GRID
    grid = write(tmp_path, GRID.replace(old, new))
    with pytest.raises(ConfigError, match=named):
        benchmark(grid, places, tmp_path / "out", tmp_path / "results")
    assert not (tmp_path / "out").exists()


def test_data_of_which_nothing_can_be_held_out_are_named(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\na,b,1\na,c,2\n")
    places = {"movielens-100k": str(tmp_path), "mine": str(tmp_path)}
    with pytest.raises(InputError, match=r"^data 'movielens-100k': no validation cases"):
        benchmark(write(tmp_path, GRID), places, tmp_path / "out", tmp_path / "results")


OF_ANOTHER_SHAPE = """
description = "each data set has a network of its own"
reference = "ids"
data = [
    { name = "wide" },
    { name = "mine", changes = { recommender = { backbone = "caser", window = 3 } } },
]

[[entries]]
name = "ids"
recipe = "ids"
changes.recommender.heads = 4
data = ["wide"]

[[entries]]
name = "IDs of mine"
recipe = "ids"
data = ["mine"]
"""


def test_data_on_which_the_first_entry_is_not_run_are_read(tmp_path: Path) -> None:
    grid = read_grid(write(tmp_path, OF_ANOTHER_SHAPE))
    grid.check()
    interactions = tmp_path / "mine.csv"
    rows = [f"a,{item},{item}" for item in range(4)]
    interactions.write_text("\n".join(["user_id,item_id,timestamp", *rows, ""]))
    source = find_source(str(interactions), None, None)
    run = GridRun(grid, grid.data[1], source, tmp_path / "out")
    split, n_items = run.split()
    assert (len(split.test), n_items) == (1, 4)
    assert [cell.entry for cell in islice(run.cells(), len(BASELINES))] == list(BASELINES)


def test_data_on_which_no_entry_is_run_are_named(tmp_path: Path) -> None:
    text = GRID.replace('recipe = "ids"', 'recipe = "ids"\ndata = ["movielens-100k"]')
    text = text.replace("on.mine.training.epochs = 9\n", "")
    with pytest.raises(ConfigError, match="data set 'mine' has no entry that is run on it"):
        read_grid(write(tmp_path, text))


def test_another_backbone_brings_its_own_defaults(tmp_path: Path) -> None:
    text = GRID.replace("recommender.embedding_size = 128", 'recommender.backbone = "gru4rec"')
    grid = read_grid(write(tmp_path, text))
    recommender = grid.recipe_of(grid.data[1], grid.entries[1], 0).recommender
    assert isinstance(recommender, Gru4recConfig)
    assert recommender.id_init == "random"  # of the recipe


CURVE = GRID.replace(
    "changes.recommender.embedding_size = 128",
    'changes.training.share = 0.1\ncurve = "ids"',
).replace('recipe = "ids"', 'recipe = "ids"\ncurve = "ids"', 1)


def test_a_curve_has_its_entries_by_share(tmp_path: Path) -> None:
    grid = read_grid(write(tmp_path, CURVE))
    assert grid.curves_on(grid.data[0]) == {"ids": {0.1: "Wide IDs", 1.0: "ids"}}
    assert list(grid.curves_on(grid.data[0])["ids"]) == [0.1, 1.0]
    plain = read_grid(write(tmp_path, GRID))
    assert plain.curves_on(plain.data[0]) == {}


def test_two_points_of_a_curve_at_one_share_are_named(tmp_path: Path) -> None:
    grid = read_grid(write(tmp_path, CURVE.replace("share = 0.1", "share = 1.0")))
    with pytest.raises(ConfigError, match=r"'ids' and 'Wide IDs'.* curve 'ids' at .*share = 1\.0"):
        grid.curves_on(grid.data[1])


def test_missing_folders_are_named(tmp_path: Path) -> None:
    grid = read_grid(write(tmp_path, GRID))
    with pytest.raises(ConfigError, match="'mine': give its folder"):
        find_sources(grid, {})
    with pytest.raises(ConfigError, match="--data other=here"):
        find_sources(grid, {"other": "here"})
    with pytest.raises(ConfigError, match="NAME=FOLDER"):
        parse_places(["mine"])


def test_a_grid_is_called_by_its_name_only_where_it_is_that_one(tmp_path: Path) -> None:
    copy = tmp_path / "backbones.toml"
    copy.write_text((GRIDS / "backbones.toml").read_text())
    assert name_of(read_grid("backbones"), "backbones") == "backbones"
    assert name_of(read_grid(str(copy)), str(copy)) == "backbones"
    copy.write_text("seeds = [7]\n" + copy.read_text())
    assert name_of(read_grid(str(copy)), str(copy)) == "backbones.toml"


def test_a_grid_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="'nothing'"):
        read_grid("nothing")
