from __future__ import annotations

import torch
from torch.nn import functional as F

from offline.recommender.backbones.hstu import Hstu
from offline.recommender.config import HstuConfig

SIZE, HEADS, LONGEST = 8, 2, 200


def network(layers: int) -> Hstu:
    config = HstuConfig(embedding_size=SIZE, heads=HEADS, layers=layers, max_length=LONGEST)
    torch.manual_seed(0)
    made = Hstu(config).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_a_layer_is_the_papers_equations_a_position_at_a_time() -> None:
    layer = network(1).layers[0]
    torch.manual_seed(1)
    states = torch.randn(1, 7, SIZE)
    gate, value, query, key = F.silu(layer.gate_value_query_key(layer.norm(states))).chunk(4, -1)
    attended = torch.zeros(1, 7, SIZE)
    size = SIZE // HEADS
    for asking in range(7):
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for seen in range(asking + 1):
                score = query[0, asking, part] @ key[0, seen, part]
                weight = F.silu(score + layer.by_distance[head, asking - seen]) / LONGEST
                attended[0, asking, part] += weight * value[0, seen, part]
    expected = states + layer.out(layer.attended_norm(attended) * gate)
    torch.testing.assert_close(layer(states), expected)


def test_blocks_of_queries_do_not_show() -> None:
    """From 128 items on training asks in blocks; serving never does."""
    made = network(2)
    torch.manual_seed(2)
    items, present = torch.randn(2, 150, SIZE), torch.ones(2, 150, dtype=torch.bool)
    torch.testing.assert_close(made.last(items, present), made.last_as_trained(items, present))


def test_more_of_the_same_counts_more() -> None:
    """A difference that softmax can't see: one item of a kind in a history or four of them."""
    layer = network(1).layers[0]
    torch.nn.init.zeros_(layer.by_distance)
    attended = []
    layer.attended_norm.register_forward_hook(lambda _, given, __: attended.append(given[0]))
    torch.manual_seed(3)
    layer(torch.randn(1, 1, SIZE).repeat(1, 4, 1))
    torch.testing.assert_close(attended[0][:, 3], 4 * attended[0][:, 0])
