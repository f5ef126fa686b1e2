"""Scores of many prompts, in a file that grows: a run that was killed goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_store.errors import InputError
from model_store.rerank_prompt import LABELS
from offline.instruction.label_scorer import Float32, LabelScorer
from offline.progress import Progress

_AT_A_TIME = 16
_MEASURED = 4
_ROW_BYTES = len(LABELS) * 4


def score_prompts(
    scorer: LabelScorer, prompts: Sequence[str], n_labels: Sequence[int], path: Path
) -> list[Float32]:
    """`scorer.scores` of all prompts, which are asked in their order.

    Args:
        scorer: the language model.
        prompts: of `PromptLayout.listwise`.
        n_labels: of each prompt.
        path: the file; of the same prompts, where it exists.

    Raises:
        InputError: a score is no number.
    """
    with path.open("ab") as file:
        n_done = file.tell() // _ROW_BYTES
        file.truncate(n_done * _ROW_BYTES)  # a row that was cut off by a kill
        with Progress("asking the language model", len(prompts), "prompt") as progress:
            progress.advance(n_done)
            for start in range(n_done, len(prompts), _AT_A_TIME):
                end = min(start + _AT_A_TIME, len(prompts))
                for scores in scorer.scores(prompts[start:end], n_labels[start:end]):
                    row = np.full(len(LABELS), np.nan, dtype="<f4")
                    if not np.isfinite(scores).all():
                        raise InputError("the language model's score of a label is no number")
                    row[: len(scores)] = scores
                    file.write(row.tobytes())
                file.flush()
                progress.advance(end - start)
    return read_scores(path, n_labels)


def read_scores(path: Path, n_labels: Sequence[int]) -> list[Float32]:
    """The scores of prompts with so many labels each, from a whole file."""
    rows = np.fromfile(path, dtype="<f4").reshape(-1, len(LABELS)).astype(np.float32)
    return [row[:n] for row, n in zip(rows, n_labels, strict=True)]


def measure_prompt_s(scorer: LabelScorer, prompts: Sequence[str], n_labels: Sequence[int]) -> float:
    """Seconds a prompt, measured on a few of medium length; at least one prompt."""
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    first = max(0, (len(prompts) - _MEASURED) // 2)
    chosen = by_length[first : first + _MEASURED]
    some = [prompts[row] for row in chosen]
    labels = [n_labels[row] for row in chosen]
    scorer.scores(some[:1], labels[:1])  # the first call takes memory
    started = time.perf_counter()
    scorer.scores(some, labels)
    return (time.perf_counter() - started) / len(some)
