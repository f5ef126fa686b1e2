"""What a refresh does where a person says nothing else."""

from __future__ import annotations

HOLDOUT = 0.2
"""Of the new events, for each of the slice that compares and the one that chooses the epoch."""
MARGIN = 0.05
"""Of the running model's figure."""
CONFIDENCE = 0.95
SHADOW_SHARE = 10.0
"""Of the requests, in per cent."""
CANARY_LIMIT_S = 3_600.0
