"""Ratings of held-out pairs by a language model, user by user, in a file that grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError
from model_store.rerank_prompt import PromptLayout
from offline.instruction.label_scorer import LabelScorer
from offline.instruction.rated_examples import RatedHistories
from offline.progress import Progress
from offline.rating.ratings import Ratings

Float32 = npt.NDArray[np.float32]
_BYTES = 4


def ask_ratings(
    scorer: LabelScorer,
    train: Ratings,
    asked: Ratings,
    titles: Sequence[str],
    layout: PromptLayout,
    path: Path,
) -> Float32:
    """The expected value of each rating, float32 [n] on the scale of the training ratings.

    A user's items share the beginning of their prompts. A run that was killed goes on with the user
    it was at.

    Args:
        scorer: the language model.
        train: shown as histories.
        asked: users and items to rate; their values aren't read.
        titles: of all items, row i that of item_index i + 1.
        layout: of the prompts.
        path: the file; of the same pairs, where it exists.

    Raises:
        InputError: a rating is no number.
    """
    histories = RatedHistories(train)
    order = np.argsort(asked.users, kind="stable")
    users, starts = np.unique(asked.users[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    with path.open("ab") as file:
        # A user whom a kill cut off is asked again.
        n_users = int(np.searchsorted(ends, file.tell() // _BYTES, side="right"))
        file.truncate(int(ends[n_users - 1]) * _BYTES if n_users else 0)
        with Progress("asking for ratings", len(order), "rating") as progress:
            progress.advance(int(ends[n_users - 1]) if n_users else 0)
            for user, start, end in zip(
                users[n_users:], starts[n_users:], ends[n_users:], strict=True
            ):
                items = asked.items[order[start:end]].tolist()
                question = histories.ask(int(user), items, layout.n_history)
                beginning, candidates = question.pointwise(layout, titles)
                [expected] = scorer.ratings([beginning], [candidates])
                if not np.isfinite(expected).all():
                    raise InputError("the language model's rating of an item is no number")
                file.write(expected.astype("<f4").tobytes())
                file.flush()
                progress.advance(int(end - start))
    found = np.empty(len(order), np.float32)
    found[order] = np.fromfile(path, dtype="<f4")
    return histories.scale.rating_of(found)
