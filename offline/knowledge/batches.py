"""Prompts that are asked together: their order, their groups and how tokens are picked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.language_model import Sampling
from offline.knowledge.prompt import Prompt

# A greedy model repeats a degenerate answer, so each retry has a higher temperature.
RETRY_TEMPERATURES = (0.7, 0.9, 1.1)
RETRY_PENALTY_STEP = 0.1


@dataclass(frozen=True)
class Batch:
    """Prompts of one call.

    Attributes:
        keys: of their answers.
        prompts: aligned with the keys.
        sampling: of all of them.
    """

    keys: Sequence[str]
    prompts: Sequence[Prompt]
    sampling: Sampling


def group(
    keys: Iterable[str], missing: Collection[str], texts: Mapping[str, str], size: int
) -> list[list[str]]:
    """Missing keys in groups of similar text length; longest first, to run out of memory early.

    What a model writes can depend in its last bits on what it reads together. So a run that was
    killed asks in the groups of a run that wasn't: all keys are grouped, and only what is left of
    groups that are known in part makes new ones.

    Args:
        keys: all that are asked in a run that finds nothing.
        missing: those to ask now.
        texts: of the keys.
        size: keys in a group.
    """
    wanted = set(missing)
    ordered = sorted(keys, key=lambda key: (-len(texts[key]), key))
    groups = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    whole = [one for one in groups if wanted.issuperset(one)]
    rest = [key for one in groups if not wanted.issuperset(one) for key in one if key in wanted]
    whole += [rest[start : start + size] for start in range(0, len(rest), size)]
    return sorted(whole, key=lambda one: (-len(texts[one[0]]), one[0]))


def sampling_of(config: KnowledgeConfig, attempt: int, first_key: str) -> Sampling:
    """The configured sampling at first, then with higher temperature and a stronger penalty.

    The seed mixes in the batch's first key: batches differ, and a resumed run needs no state.
    """
    retry = attempt - 1
    warmer = RETRY_TEMPERATURES[min(retry, len(RETRY_TEMPERATURES)) - 1] if retry else 0.0
    return Sampling(
        max_new_tokens=config.max_new_tokens,
        temperature=max(config.temperature, warmer),
        repetition_penalty=config.repetition_penalty + (RETRY_PENALTY_STEP if retry else 0.0),
        seed=(config.seed + attempt + int(first_key[:8], 16)) % 2**31,
    )
