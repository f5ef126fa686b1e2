"""A build whose network was trained with items that a language model picked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import longtail
from model_store.bundle import POPULARITY, Bundle
from offline.data.insertions import Insertions
from offline.data.split import Split
from tests.end_to_end.build_output import without_warnings
from tests.end_to_end.conftest import Workshop
from tests.offline.instruction.tiny_models import save_small_llama

pytestmark = pytest.mark.slow

AUGMENTATION = """
[augmentation]
share = 0.4
n_candidates = 4
per_user = 2
model = "{model}"
"""


def test_what_was_inserted_trains_the_network_and_is_no_part_of_the_bundle(
    built: Path, workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_small_llama(workshop.root / "ranking-llama")
    recipe = workshop.root / "augmented.toml"
    table = AUGMENTATION.format(model=model)
    text = workshop.recipe.read_text().replace("epochs = 25", "epochs = 2")
    recipe.write_text(text + table)
    arguments = ["build", "--interactions", str(workshop.interactions)]
    arguments += ["--items", str(workshop.items), "--recipe", str(recipe), "--refit"]
    # Its items, texts and text encoder are the same.
    shutil.copytree(built, workshop.root / "augmented")
    assert longtail.main([*arguments, "--out", str(workshop.root / "augmented")]) == 0
    said = capsys.readouterr().out

    root = workshop.root / "augmented"
    insertions = Insertions.load(root / "augmentation")
    split = Split.load(root / "data" / "split")
    assert f"augmentation: {len(insertions)} prompts of {model}; about" in said
    assert len(insertions) >= 2 * 0.3 * (len(split.train_offsets) - 1)
    for user, item in zip(insertions.users, insertions.items, strict=True):
        assert item not in split.train_history(user)

    augmented, plain = Bundle.open(root / "bundle"), Bundle.open(built / "bundle")
    for name in ("user_items.npy", "user_offsets.npy"):
        assert (augmented.folder / name).read_bytes() == (plain.folder / name).read_bytes()
    counts = np.bincount(
        np.load(plain.folder / "user_items.npy"), minlength=plain.manifest.n_items + 1
    )
    np.testing.assert_array_equal(np.load(augmented.folder / POPULARITY), counts)
    assert longtail.main([*arguments, "--out", str(root)]) == 0
    said = without_warnings(capsys.readouterr().out.splitlines())
    assert all("unchanged" in line for line in said), said
