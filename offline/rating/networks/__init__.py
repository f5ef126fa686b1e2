"""The networks of rating prediction (Llama4Rec 5.1.4): each makes a number of a user's fields and
an item's, which is added to their first-order terms."""

from __future__ import annotations

from typing import Any

from torch import nn

from offline.rating.config import RatingConfig
from offline.rating.networks.afm import Afm
from offline.rating.networks.autoint import AutoInt
from offline.rating.networks.dcn import Dcn
from offline.rating.networks.deepfm import DeepFm
from offline.rating.networks.nfm import Nfm
from offline.rating.networks.xdeepfm import XDeepFm

_NETWORKS: dict[str, Any] = {
    "deepfm": DeepFm,
    "nfm": Nfm,
    "dcn": Dcn,
    "afm": Afm,
    "xdeepfm": XDeepFm,
    "autoint": AutoInt,
}


def new_interaction(n_fields: int, config: RatingConfig) -> nn.Module:
    """The network of a configuration, from [B, F, D] to [B]."""
    module: nn.Module = _NETWORKS[config.network](n_fields, config)
    return module
