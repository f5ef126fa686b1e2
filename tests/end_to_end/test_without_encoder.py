"""A build over ids alone that encodes no text: no encoder is opened, and none is in the bundle."""

from __future__ import annotations

import pytest

from app.model.model import load_model
from model_store.bundle import ENCODER, KNOWLEDGE, Bundle
from tests.end_to_end.conftest import Workshop

pytestmark = pytest.mark.slow

RECIPE = """
description = "ids alone, for tests"

[knowledge]
model = "none"

[encoding]
encoder = "none"

[recommender]
embedding_size = 16
max_length = 12
layers = 1
id_init = "random"
knowledge_beside_ids = false

[training]
epochs = 2
"""


def test_nothing_is_made_of_texts_that_nobody_reads(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = workshop.root / "ids-alone.toml"
    recipe.write_text(RECIPE)
    assert workshop.build("ids-alone", "--recipe", str(recipe)) == 0
    said = capsys.readouterr().out
    assert "text_encoder" not in said
    assert "encoding: done" in said
    bundle = Bundle.open(workshop.root / "ids-alone" / "bundle")
    assert bundle.manifest.encoder is None
    assert not any(map(bundle.has, (*ENCODER, *KNOWLEDGE)))
    model = load_model(bundle)  # which replays its golden requests
    assert model.knowledge is None
    assert len(model.ids) == bundle.manifest.n_items
