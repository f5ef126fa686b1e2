from __future__ import annotations

import numpy as np
import pytest
import torch

from offline.recommender.item_encoder import ItemEncoder
from offline.recommender.text_projection import whiten
from tests.offline.recommender.test_text_projection import text_like


@pytest.mark.parametrize("with_knowledge", [True, False])
def test_training_starts_from_the_id_vectors(with_knowledge: bool) -> None:
    torch.manual_seed(0)
    white = whiten(text_like(200, 30), 16)
    encoder = ItemEncoder(200, 16, white if with_knowledge else None, white)
    table = encoder().detach().numpy()
    assert table.shape == (201, 16)
    assert not table[0].any()
    likeness = np.corrcoef(table[1:].ravel(), white[1:].ravel())[0, 1]
    assert likeness > 0.99
    assert encoder.ids.detach().numpy()[1:].std() == pytest.approx(0.02, rel=0.01)


def test_ids_start_as_large_as_asked() -> None:
    torch.manual_seed(0)
    white = whiten(text_like(200, 30), 16)
    for vectors in (None, white):
        ids = ItemEncoder(200, 16, None, vectors, id_std=0.125).ids.detach().numpy()
        assert ids[1:].std() == pytest.approx(0.125, rel=0.05)


def test_items_without_a_vector_start_at_random() -> None:
    torch.manual_seed(0)
    vectors = text_like(20, 10)
    vectors[3] = 0.0
    table = ItemEncoder(20, 8, None, whiten(vectors, 8))().detach()
    assert table[3].abs().min() > 0


def test_anchored_ids_start_where_others_do() -> None:
    white = whiten(text_like(200, 30), 16)
    tables = []
    for anchored in (False, True):
        torch.manual_seed(0)
        tables.append(ItemEncoder(200, 16, None, white, 0.1, anchored)().detach())
    assert torch.equal(*tables)


def test_weight_decay_alone_takes_anchored_ids_nowhere() -> None:
    white = whiten(text_like(200, 30), 16)
    for anchored in (False, True):
        torch.manual_seed(0)
        encoder = ItemEncoder(200, 16, None, white, 0.1, anchored)
        start = encoder().detach().clone()
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=1.0)
        for _ in range(10):
            optimizer.zero_grad()
            (encoder().sum() * 0.0).backward()
            optimizer.step()
        share = float((encoder().detach() / start)[1:].mean())
        assert share == pytest.approx(1.0 if anchored else 0.9**10)
