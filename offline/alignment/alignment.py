"""The training loop of Algorithm 1; resumes to the step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from offline.alignment.config import AlignmentConfig
from offline.alignment.experience import Source
from offline.alignment.learner import AlignmentLearner
from offline.alignment.watch import Watch
from offline.progress import Progress
from offline.training.checkpoint import load_checkpoint

_CHECKPOINT = "alignment.safetensors"


@dataclass(frozen=True)
class Outcome:
    """How an alignment ended.

    Attributes:
        steps: updates that were made.
        stopped: why it ended before the last step; None if it did not.
        seconds: of the loop, over all runs.
    """

    steps: int
    stopped: str | None
    seconds: float


class Alignment:
    """Updates both models, step by step.

    Args:
        learner: makes the updates.
        open_source: opens what gives the experiences, once the learner is where it goes on from.
        watch: of figures and texts.
        folder: gets a checkpoint, to resume from.
        fingerprint: of all that decides the result; a checkpoint with another is not used.
        config: settings.
    """

    def __init__(
        self,
        learner: AlignmentLearner,
        open_source: Callable[[AlignmentLearner], Source],
        watch: Watch,
        folder: Path,
        fingerprint: str,
        config: AlignmentConfig,
    ) -> None:
        self._learner, self._open_source, self._watch = learner, open_source, watch
        self._checkpoint, self._fingerprint = folder / _CHECKPOINT, fingerprint
        self._config = config
        self._seconds = 0.0
        self._stopped: str | None = None

    def run(self) -> Outcome:
        """Run the steps that are left.

        Raises:
            InputError: a figure is no longer a number.
        """
        begun = self._resume()
        with ExitStack() as opened:
            opened.callback(self._watch.close)
            source = self._open_source(self._learner)
            opened.callback(source.close)
            progress = opened.enter_context(Progress("aligning", self._config.steps, "steps"))
            progress.advance(begun)
            self._run_from(begun, source, progress)
        return Outcome(self._learner.n_steps, self._stopped, round(self._seconds, 1))

    def _run_from(self, begun: int, source: Source, progress: Progress) -> None:
        if not self._watch.looks:
            self._watch.look(0, {})
        saved = time.perf_counter()
        for step in range(begun + 1, self._config.steps + 1):
            if self._stopped is not None:
                return
            started = time.perf_counter()
            figures = {**self._learner.update(source.take(step)), **source.figures()}
            self._watch.note(step, figures)
            is_last = step == self._config.steps
            if is_last or step % self._config.watch_every == 0:
                self._watch.look(step, self._learner.current_texts)
                self._stopped = self._watch.collapse()
            self._seconds += time.perf_counter() - started
            if is_last or self._stopped or time.perf_counter() - saved >= self._config.save_every_s:
                self._save()
                saved = time.perf_counter()
            source.updated(step, self._learner)
            progress.advance(1, self._note(figures))

    def _save(self) -> None:
        state = {
            "fingerprint": self._fingerprint,
            "looks": self._watch.state(),
            "seconds": self._seconds,
            "stopped": self._stopped,
        }
        self._learner.save_checkpoint(self._checkpoint, state)

    def _resume(self) -> int:
        """Go on from the checkpoint, if there is one; returns its step."""
        found = load_checkpoint(self._checkpoint)
        if found is None or found[1].get("fingerprint") != self._fingerprint:
            self._watch.begin(0, [])
            return 0
        tensors, state = found
        self._learner.restore(tensors, state)
        self._seconds, self._stopped = state["seconds"], state["stopped"]
        self._watch.begin(self._learner.n_steps, state["looks"])
        return self._learner.n_steps

    def _note(self, figures: Mapping[str, float]) -> str:
        look = self._watch.looks[-1]
        note = f"reward {figures['reward/mean']:.3f}, KL {figures['llm/kl_per_token']:.4f} a token"
        if look.ndcg is not None:
            note += f", NDCG@10 {look.ndcg:.4f}"
        return f"{note}, {look.degenerate:.0%} degenerate"
