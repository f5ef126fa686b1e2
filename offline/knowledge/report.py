"""What the knowledge stage did, counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class KnowledgeReport:
    """Counts are distinct item texts unless said otherwise."""

    model: str
    prompt: str
    n_items: int = 0  # items asked for
    n_texts: int = 0  # distinct item texts among them
    from_bundled: int = 0
    from_cache: int = 0
    generated: int = 0  # got a usable answer in this run
    trimmed: int = 0  # of those generated, cut back to their last full sentence
    retried: int = 0  # attempts in this run after a degenerate one
    degenerate_attempts: dict[str, int] = field(default_factory=dict)  # in this run, by flaw
    not_asked: int = 0  # neither found nor asked about: the model was not to write
    without_knowledge: dict[str, int] = field(default_factory=dict)  # in the result, by last flaw
    tokens: int = 0  # made by the model in this run
    seconds: float = 0.0  # spent generating in this run
    tokens_per_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON types."""
        return asdict(self)
