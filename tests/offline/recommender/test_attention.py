from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from offline.recommender.backbones.attention import causal_attention


@pytest.mark.parametrize("length", [1, 7, 130, 201])
def test_is_causal_attention(length: int) -> None:
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, length, 4, requires_grad=True) for _ in range(3)]
    wanted = F.scaled_dot_product_attention(*parts, is_causal=True)
    upstream = torch.randn_like(wanted)
    attended = causal_attention(*parts)
    torch.testing.assert_close(attended, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(attended, parts, upstream), torch.autograd.grad(wanted, parts, upstream)
    )
