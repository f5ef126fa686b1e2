"""The architectures, one a file."""

from __future__ import annotations

from offline.recommender.backbone import Backbone
from offline.recommender.backbones.bert4rec import Bert4rec
from offline.recommender.backbones.caser import Caser
from offline.recommender.backbones.gru4rec import Gru4rec
from offline.recommender.backbones.hstu import Hstu
from offline.recommender.backbones.lightsans import Lightsans
from offline.recommender.backbones.paup import Paup
from offline.recommender.backbones.sasrec import Sasrec
from offline.recommender.config import (
    Bert4recConfig,
    CaserConfig,
    Gru4recConfig,
    HstuConfig,
    LightsansConfig,
    PaupConfig,
    RecommenderConfig,
    SasrecConfig,
)


def new_backbone(config: RecommenderConfig) -> Backbone:
    """The network that a configuration describes, with random weights."""
    match config:
        case SasrecConfig():
            return Sasrec(config)
        case Bert4recConfig():
            return Bert4rec(config)
        case Gru4recConfig():
            return Gru4rec(config)
        case CaserConfig():
            return Caser(config)
        case HstuConfig():
            return Hstu(config)
        case LightsansConfig():
            return Lightsans(config)
        case PaupConfig():
            return Paup(config)
