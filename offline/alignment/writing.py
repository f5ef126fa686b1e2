"""Sampled texts of items, with their log p under the LLM as it is and before alignment."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from offline.alignment.config import AlignmentConfig
from offline.alignment.experience import Float32, SampledText
from offline.alignment.item_prompts import ItemPrompts
from offline.alignment.policy import Policy, Written


def write_texts(
    policy: Policy,
    prompts: ItemPrompts,
    items: Sequence[int],
    config: AlignmentConfig,
    generator: torch.Generator,
    *,
    before_alignment: bool = False,
) -> list[SampledText]:
    """One text for each item_index of `items`; for one that is repeated, so many different ones.

    Equal items cost least one behind the other: the prompt of an item is run once in a batch.

    Args:
        policy: the LLM.
        prompts: of the items.
        items: item_indices.
        config: length and batch size.
        generator: on the LLM's device.
        before_alignment: the original LLM writes, as for a pool.
    """
    texts = []
    for start in range(0, len(items), config.sampling_batch_size):
        batch = items[start : start + config.sampling_batch_size]
        asked = [prompts.tokens(item) for item in batch]
        if before_alignment:
            with policy.original():
                written = policy.sample(asked, config.max_new_tokens, generator)
            original = [each.log_p for each in written]
        else:
            written = policy.sample(asked, config.max_new_tokens, generator)
            original = _log_original(policy, asked, written)
        texts += [
            SampledText(item, prompts.encoded(item, each.tokens), each.tokens, each.log_p, before)
            for item, each, before in zip(batch, written, original, strict=True)
        ]
    return texts


def _log_original(
    policy: Policy, prompts: Sequence[Sequence[int]], written: Sequence[Written]
) -> list[Float32]:
    with policy.original():
        log_ps = policy.log_p(prompts, [each.tokens for each in written])
    return [log_p.float().cpu().numpy() for log_p in log_ps]
