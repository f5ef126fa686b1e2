"""Each network against its paper's formula, written out by loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from offline.rating.config import (
    AfmConfig,
    AutoIntConfig,
    DcnConfig,
    DeepFmConfig,
    NfmConfig,
    XDeepFmConfig,
)
from offline.rating.networks import new_interaction
from offline.rating.networks.afm import Afm
from offline.rating.networks.autoint import AutoInt
from offline.rating.networks.dcn import Dcn
from offline.rating.networks.deepfm import DeepFm
from offline.rating.networks.nfm import Nfm
from offline.rating.networks.xdeepfm import XDeepFm

N_FIELDS, SIZE, BATCH = 4, 3, 5
Floats = npt.NDArray[np.float64]
SMALL = {"embedding_size": SIZE, "dropout": 0.0}


@pytest.fixture
def fields() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(BATCH, N_FIELDS, SIZE, dtype=torch.float64)


def built(network: type, config: object) -> nn.Module:
    torch.manual_seed(2)
    module: nn.Module = network(N_FIELDS, config).double().eval()
    return module


def array(tensor: Tensor) -> Floats:
    values: Floats = tensor.detach().numpy()
    return values


def by_hand(layers: nn.Module, inputs: Floats) -> Floats:
    """Linear maps with ReLU between them, as matrices."""
    maps = [layer for layer in layers.modules() if isinstance(layer, nn.Linear)]
    for place, layer in enumerate(maps):
        inputs = array(layer.weight) @ inputs + array(layer.bias)
        if place < len(maps) - 1:
            inputs = np.maximum(inputs, 0)
    return inputs


def check(module: nn.Module, fields: Tensor, wanted: list[float]) -> None:
    assert array(module(fields)) == pytest.approx(np.array(wanted), abs=1e-12)


def test_deepfm_is_the_double_sum_over_pairs_and_a_perceptron(fields: Tensor) -> None:
    module = built(DeepFm, DeepFmConfig(hidden=(6, 2), **SMALL))
    wanted = []
    for row in array(fields):
        pairs = sum(row[i] @ row[j] for i, j in combinations(range(N_FIELDS), 2))
        wanted.append(pairs + by_hand(module.deep, row.ravel())[0])
    check(module, fields, wanted)


def test_nfm_is_a_perceptron_of_the_sum_of_pairwise_products(fields: Tensor) -> None:
    module = built(Nfm, NfmConfig(hidden=(6,), **SMALL))
    wanted = []
    for row in array(fields):
        pooled = sum(row[i] * row[j] for i, j in combinations(range(N_FIELDS), 2))
        wanted.append(by_hand(module.deep, pooled)[0])
    check(module, fields, wanted)


def test_dcn_multiplies_the_input_with_each_layers_weighted_sum(fields: Tensor) -> None:
    module = built(Dcn, DcnConfig(hidden=(6,), cross_layers=2, **SMALL))
    nn.init.normal_(module.crosses[1].bias)
    wanted = []
    for row in array(fields):
        first = crossed = row.ravel()
        for layer in module.crosses:
            weight, bias = array(layer.weight.weight)[0], array(layer.bias)
            crossed = np.array(
                [
                    first[i] * sum(crossed[j] * weight[j] for j in range(len(first)))
                    + bias[i]
                    + crossed[i]
                    for i in range(len(first))
                ]
            )
        deep = np.maximum(by_hand(module.deep, first), 0)
        both = np.concatenate([crossed, deep])
        wanted.append((array(module.last.weight) @ both + array(module.last.bias))[0])
    check(module, fields, wanted)


def test_afm_weighs_each_pair_by_the_softmax_of_its_attention(fields: Tensor) -> None:
    module = built(Afm, AfmConfig(attention_size=2, **SMALL))
    wanted = []
    for row in array(fields):
        pairs = [row[i] * row[j] for i, j in combinations(range(N_FIELDS), 2)]
        logits = []
        for pair in pairs:
            hidden = array(module.attention.weight) @ pair + array(module.attention.bias)
            logits.append((array(module.query.weight) @ np.maximum(hidden, 0))[0])
        weights = np.exp(logits) / np.exp(logits).sum()
        pooled = sum(weight * pair for weight, pair in zip(weights, pairs, strict=True))
        wanted.append((array(module.last.weight) @ pooled)[0])
    check(module, fields, wanted)


def test_xdeepfm_sums_weighted_products_of_feature_maps_with_fields(fields: Tensor) -> None:
    module = built(XDeepFm, XDeepFmConfig(hidden=(6,), maps=(3, 2), **SMALL))
    wanted = []
    for row in array(fields):
        before, pooled = row, []
        for weight in map(array, module.interaction.weights):
            maps = np.zeros((len(weight), SIZE))
            for m in range(len(weight)):
                for h in range(len(before)):
                    for j in range(N_FIELDS):
                        maps[m] += weight[m, h, j] * before[h] * row[j]
            before = maps
            pooled += maps.sum(axis=1).tolist()
        explicit = (array(module.explicit.weight) @ np.array(pooled))[0]
        wanted.append(explicit + by_hand(module.deep, row.ravel())[0])
    check(module, fields, wanted)


def test_autoint_attends_from_each_field_to_all_in_every_head(fields: Tensor) -> None:
    heads, size = 2, 3
    config = AutoIntConfig(layers=2, heads=heads, attention_size=size, **SMALL)
    module = built(AutoInt, config)
    wanted = []
    for inputs in array(fields):
        row = inputs
        for layer in module.layers:
            query, key, value, residual = (
                row @ array(one.weight).T
                for one in (layer.query, layer.key, layer.value, layer.residual)
            )
            attended = np.zeros_like(query)
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                for field in range(N_FIELDS):
                    logits = [query[field, part] @ key[other, part] for other in range(N_FIELDS)]
                    weights = np.exp(logits) / np.exp(logits).sum()
                    attended[field, part] = weights @ value[:, part]
            row = np.maximum(attended + residual, 0)
        wanted.append((array(module.last.weight) @ row.ravel() + array(module.last.bias))[0])
    check(module, fields, wanted)


@pytest.mark.parametrize(
    "config",
    [DeepFmConfig(), NfmConfig(), DcnConfig(), AfmConfig(), XDeepFmConfig(), AutoIntConfig()],
    ids=lambda config: config.network,
)
def test_every_configuration_has_its_network(config: DeepFmConfig) -> None:
    fields = torch.randn(BATCH, N_FIELDS, config.embedding_size)
    module = new_interaction(N_FIELDS, config)
    module(fields).sum().backward()
    assert module(fields).shape == (BATCH,)
    assert all(weight.grad is not None for weight in module.parameters())
