"""Creates recommenders of every kind from a configuration, or loads saved ones."""

from __future__ import annotations

import json
from pathlib import Path

from model_store.errors import InputError
from offline.direct.config import DirectConfig, FactorConfig
from offline.direct.recommender import DirectRecommender
from offline.recommender.config import RecommenderConfig, TrainingConfig
from offline.recommender.recommender import Recommender
from offline.recommender.sequential import SequenceRecommender
from offline.training.saved_model import CONFIG

_KINDS: dict[str, type[Recommender]] = {
    SequenceRecommender.kind: SequenceRecommender,
    DirectRecommender.kind: DirectRecommender,
}


def new_recommender(
    config: RecommenderConfig | DirectConfig, training: TrainingConfig
) -> Recommender:
    """The recommender that a configuration describes, not yet fitted.

    Args:
        config: of a sequence network, or of a direct model.
        training: of a sequence network; a direct model's is in its configuration.
    """
    if isinstance(config, FactorConfig):
        return DirectRecommender(config)
    return SequenceRecommender(config, training)


def load_recommender(folder: Path) -> Recommender:
    """The recommender that was saved into a folder.

    Raises:
        InputError: the folder doesn't hold one.
    """
    path = folder / CONFIG
    try:
        kind = json.loads(path.read_bytes())["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a saved model ({error})") from error
    if kind not in _KINDS:
        raise InputError(f"{path}: kind {kind!r} is none of {', '.join(_KINDS)}")
    return _KINDS[kind].load(folder)
