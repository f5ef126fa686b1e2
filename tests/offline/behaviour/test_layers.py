"""Gradients reach the chosen layers, and lower ones are computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.errors import ConfigError
from offline.behaviour.config import BehaviourConfig, Layers
from offline.behaviour.history_encoder import HistoryEncoder
from offline.behaviour.history_texts import HistoryTexts
from offline.behaviour.layers import choose_parameters, chosen_layers, layers_of
from offline.encoding.sentence_encoder import SentenceEncoder
from tests.offline.behaviour.world import ITEM_TEXTS, N_ITEMS, make_encoder

ITEMS = np.arange(1, N_ITEMS + 1, dtype=np.int32)[:, None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def open_encoder(folder: Path, layers: Layers, **choices: float) -> HistoryEncoder:
    config = BehaviourConfig(layers=layers, **choices)  # type: ignore[arg-type]
    return HistoryEncoder(SentenceEncoder(str(folder), folder, "cpu"), ITEM_TEXTS, config)


@pytest.mark.parametrize(
    ("layers", "n", "expected"),
    [
        ("all", 3, [0, 1, 2]),
        ("strata", 12, [3, 7, 11]),
        ("strata", 6, [1, 3, 5]),
        ("strata", 2, [0, 1]),
        ("strata", 1, [0]),
        ("upper", 12, [8, 9, 10, 11]),
        ("upper", 6, [4, 5]),
        ("upper", 1, [0]),
        ((4, 5), 6, [4, 5]),
    ],
)
def test_layers_are_chosen(layers: Layers, n: int, expected: list[int]) -> None:
    assert chosen_layers(layers, n) == expected


def test_a_layer_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^layers \[1, 3\]: the encoder's are 0 to 2$"):
        open_encoder(folder, (1, 3))


def test_a_model_without_layers_is_rejected() -> None:
    with pytest.raises(ConfigError, match="Linear: no list of layers"):
        layers_of(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(("layers", "tuned"), [("strata", {0, 1, 2}), ((1,), {1}), ((2,), {2})])
@pytest.mark.parametrize("items", [1, 2])
def test_gradients_reach_the_chosen_layers_alone(
    folder: Path, layers: Layers, tuned: set[int], items: int
) -> None:
    encoder = open_encoder(folder, layers)
    histories = np.concatenate([ITEMS[:8]] * items, axis=1)
    weights = torch.randn(8, 32)
    (encoder(histories) * weights).sum().backward()
    reached = {
        name for name, p in encoder.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert {int(name.split("layer.")[1].split(".")[0]) for name in reached} == tuned


def test_all_is_everything_but_the_pooler(folder: Path) -> None:
    encoder = open_encoder(folder, "all")
    (encoder(ITEMS[:8]) * torch.randn(8, 32)).sum().backward()
    without = {name for name, p in encoder.named_parameters() if p.grad is None}
    assert without == {name for name, _ in encoder.named_parameters() if "pooler" in name}


def test_dropout_is_where_it_is_tuned(folder: Path) -> None:
    model = SentenceEncoder(str(folder), folder, "cpu").pooled.model
    assert choose_parameters(model, (1, 2), 0.25) == 1
    dropouts = {
        name: part.p for name, part in model.named_modules() if isinstance(part, torch.nn.Dropout)
    }
    assert {p for name, p in dropouts.items() if "layer.1" in name or "layer.2" in name} == {0.25}
    assert {p for name, p in dropouts.items() if "layer.0" in name or "embed" in name} == {0.0}


@pytest.mark.parametrize("layers", [(1,), (2,), (1, 2)])
def test_lower_layers_are_computed_once_and_change_nothing(folder: Path, layers: Layers) -> None:
    encoder, plain = open_encoder(folder, layers), open_encoder(folder, "all")
    expected = plain.encode_items()
    seen: list[int] = []
    lowest = layers_of(encoder.pooled.model)[0]
    lowest.register_forward_hook(lambda *_: seen.append(1))
    assert torch.allclose(encoder.encode_items(), expected, atol=1e-6)
    n_first = len(seen)
    assert n_first
    again = encoder.encode_items()
    assert len(seen) == n_first
    assert torch.allclose(again, expected, atol=1e-6)
    # In another order, with other neighbours, and together with an item that is new to it.
    some = ITEMS[[7, 3, 50]]
    assert torch.allclose(encoder(some), plain(some), atol=1e-6)
    assert list(layers_of(encoder.pooled.model)) == [*encoder.pooled.model.encoder.layer]
    assert len(layers_of(encoder.pooled.model)) == 3


def test_a_history_is_read_newest_first_and_cut(folder: Path) -> None:
    encoder = open_encoder(folder, "all", item_tokens=1)
    assert encoder.texts.of(np.array([[7, 2], [3, 0]], np.int32)) == ["theme1b\ntheme2a", "theme3a"]
    assert encoder.texts.lengths(np.array([[7, 2], [3, 0]], np.int32)).tolist() == [2, 1]
    ids, mask = open_encoder(folder, "all", max_tokens=8).tokens(np.array([[1, 2, 3, 4, 5]] * 2))
    assert ids.shape == mask.shape == (2, 8)


def test_a_history_may_be_as_long_as_the_encoder_reads(folder: Path) -> None:
    encoder = SentenceEncoder(str(folder), folder, "cpu")
    encoder.positions = 300  # more than the service encodes of an item
    histories = HistoryEncoder(encoder, ITEM_TEXTS, BehaviourConfig(max_tokens=280))
    assert histories.tokens(np.tile(ITEMS[:50, 0], (1, 8)))[0].shape == (1, 280)


class SlowTokenizer:
    is_fast = False
    name_or_path = "old"


def test_a_slow_tokenizer_is_named() -> None:
    with pytest.raises(ConfigError, match="its tokenizer is not one of the fast kind"):
        HistoryTexts(ITEM_TEXTS, SlowTokenizer(), 8)
