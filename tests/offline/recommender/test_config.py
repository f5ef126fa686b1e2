from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from offline.recommender.config import (
    HstuConfig,
    PaupConfig,
    RecommenderConfig,
    SasrecConfig,
    TrainingConfig,
)


@pytest.mark.parametrize(
    ("config", "values", "said"),
    [
        (SasrecConfig, {"dropout": 1.0}, "dropout"),
        (SasrecConfig, {"layers": 0}, "layers"),
        (SasrecConfig, {"id_init": "magic"}, "id_init"),
        (SasrecConfig, {"embedding_size": 64, "heads": 3}, "64 is not an even multiple of heads 3"),
        (SasrecConfig, {"members": 3}, "64 is not a multiple of members 3"),
        (
            SasrecConfig,
            {"members": 16, "heads": 4},
            "64 / members 16 is not an even multiple of heads 4",
        ),
        (HstuConfig, {"heads": 3}, "64 is not a multiple of heads 3"),
        (SasrecConfig, {"droput": 0.1}, "droput"),
        (TrainingConfig, {"learning_rate": 0.0}, "learning_rate"),
        (TrainingConfig, {"label_smoothing": 0.1, "sampled_negatives": 64}, "sampled_negatives 0"),
        (TrainingConfig, {"label_smoothing": 0.1, "loss": "bce"}, "only with loss softmax"),
        (TrainingConfig, {"loss": "bce", "sampled_negatives": 64}, "bce has one negative"),
        (TrainingConfig, {"whole_catalogue_up_to": 9}, "whole_catalogue_up_to 9 works only with"),
        (
            TrainingConfig,
            {"whole_catalogue_up_to": 9, "sampled_negatives": 4, "loss": "gbce"},
            "not gbce and 4",
        ),
        (SasrecConfig, {"dropout": 0.999}, "dropout"),
        (TrainingConfig, {"loss": "gbce"}, "gbce needs sampled_negatives"),
        (PaupConfig, {"segment": 0}, "segment"),
    ],
)
def test_wrong_choices_are_named(
    config: type[BaseModel], values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**values)


def test_choices_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SasrecConfig().layers = 3  # type: ignore[misc]


def test_the_backbone_is_a_choice() -> None:
    read = TypeAdapter(RecommenderConfig).validate_python
    assert read({"layers": 3}) == SasrecConfig(layers=3)
    assert read({"backbone": "paup", "segment": 4}) == PaupConfig(segment=4)
    with pytest.raises(ValidationError, match="backbone is none of sasrec"):
        read({"backbone": "magic"})
    with pytest.raises(ValidationError, match="segment"):
        read({"backbone": "sasrec", "segment": 4})
