"""The array types that the service passes about."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
"""Scores [N+1] and vectors [..., D]."""

IndexArray: TypeAlias = npt.NDArray[np.int32]
"""item_indices; where a function promises order it says so."""

NO_ITEMS: IndexArray = np.empty(0, dtype=np.int32)
NO_ITEMS.setflags(write=False)
NO_SCORES: FloatArray = np.empty(0, dtype=np.float32)
