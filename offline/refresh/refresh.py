"""One refresh: from archived events to a version that answers, or the reason why there is none.

Its stages are in one folder and are used again while nothing that they depend on changes. The
steps after them are in a journal. So a refresh that was killed goes on where it was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_store.bundle import ITEM_IDS, MANIFEST, USER_IDS, Bundle
from model_store.embedded import running_store
from model_store.errors import (
    ConfigError,
    LongtailError,
    StoreAway,
)
from model_store.files import clear_removed, remove_folder, write_atomically
from model_store.forgotten import read_forgotten
from model_store.private_key import PrivateKey
from model_store.publication import bundles_folder, publish
from model_store.signatures import trust_from
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.artifact import MANIFEST as STAGE_MANIFEST
from offline.artifact import Artifact, locked
from offline.build import Build
from offline.event_archive.snapshot import copy_archive, copy_drawn, forget_in_copy
from offline.recipe import Recipe, change_recipe
from offline.refresh.choices import Choices
from offline.refresh.drawn_answers import DrawnAnswers, judge_drawn
from offline.refresh.drawn_ranks import DrawnRanksStage
from offline.refresh.evidence import of_any_release, weigh
from offline.refresh.findings import describe_data, reason_to_stop
from offline.refresh.introduction import Introduction
from offline.refresh.journal import Journal
from offline.refresh.metrics import to_prometheus
from offline.refresh.ratings import RefreshedRatings
from offline.refresh.report import describe
from offline.refresh.running import (
    Running,
    active_version,
    keep_weights,
    named_versions,
    open_running,
    prune_weights,
)
from offline.stages.comparison import ComparisonStage
from offline.stages.label_graph import LabelGraphStage
from offline.stages.recommender import RecommenderArtifact
from offline.stages.refreshed_data import RefreshedDataArtifact, RefreshedDataStage
from offline.stages.stage import Log, run_stage
from offline.stages.start import StartArtifact
from offline.stages.text_encoder import TextEncoderStage

SPLIT = "newest"
"""Name of the split in reports and manifests."""
METRICS = "refresh.prom"
_LASTING = (LabelGraphStage.name, TextEncoderStage.name)
Document = dict[str, Any]


class _Declined(Exception):  # noqa: N818 - an outcome, not a fault
    """The refresh ends without a further step; the message says why."""


@dataclass(frozen=True)
class Refresh:
    """A refresh.

    Attributes:
        choices: what is refreshed and how far it goes.
        log: called with lines of progress.
    """

    choices: Choices
    log: Log

    def run(self) -> Document:
        """Go on with the refresh that was interrupted, or begin another one; answers its report.

        Raises:
            LongtailError: in one line, why it can't be done now.
        """
        self.choices.check()
        with locked(self.choices.root):
            journal = self._journal()
            try:
                if "publish" not in journal.done:
                    self._train(journal)
            except _Declined as declined:
                return self._finish(journal, "declined", str(declined))
            except StoreAway:
                raise
            except LongtailError:
                # What is begun anew sees the events that came meanwhile.
                remove_folder(journal.folder)
                raise
            return self._finish(journal, *Introduction(self.choices, journal, self.log).run())

    def _journal(self) -> Journal:
        """The interrupted refresh if it is of the version that answers, else another one."""
        runs = self.choices.root / "runs"
        clear_removed(runs)  # events are about people
        with running_store(store_url_from()) as url:
            active = active_version(connect(url), self.choices.model)
        journal = Journal.unfinished(runs)
        if journal is not None:
            if active in {journal.plan["running"], journal.done.get("publish", {}).get("version")}:
                self.log(f"refresh {journal.number}: going on with it")
                if "comparison" in journal.done:
                    journal.done["comparison"] = of_any_release(journal.done["comparison"])
                return journal
            self.log(f"refresh {journal.number}: {active} answers now, so it is begun again")
            remove_folder(journal.folder)
        now = datetime.now(UTC)
        plan = {
            "running": active,
            "started_at": now.isoformat(timespec="seconds"),
            "until_us": time.time_ns() // 1_000,
            "holdout": self.choices.holdout,
        }
        journal = Journal.begin(runs, plan)
        self.log(f"refresh {journal.number}: of version {active}")
        return journal

    def _train(self, journal: Journal) -> None:
        """Train, compare, and publish what is not worse."""
        choices = self.choices
        with running_store(store_url_from()) as url:
            client = connect(url)
            running = open_running(journal.plan["running"], client)
            if running.predicts_ratings and choices.exposures is not None:
                raise ConfigError(
                    f"--exposures: what people were shown tells nothing of ratings, and version "
                    f"{running.version} predicts these; leave it out"
                )
            forgotten, named = read_forgotten(client), named_versions(client)
        _reuse(choices.built, choices.root)
        places = [choices.root, choices.built]
        start = keep_weights(running, places, choices.root / "models", named)
        build = self._build(running, journal, start)
        data = self._read(build, running, journal, forgotten)
        journal.done["data"] = describe_data(data, running.bundle.item_ids)
        if running.predicts_ratings:
            found = RefreshedRatings(data, running, build.recipe, start, choices, self.log)
            self._train_ratings(journal, found)
            return
        if reason := reason_to_stop(data):
            raise _Declined(reason)
        fitted = build.fit(data, SPLIT)
        candidate = fitted.learned.recommender
        journal.done["training"] = _describe_training(candidate, start, running.version)
        stage = ComparisonStage(data, candidate, running.bundle, running.fresh)
        compared = run_stage(stage, choices.root, self.log)
        drawn = self._drawn(data, candidate, running, journal, forgotten)
        evidence = weigh(compared.pairs(), drawn, choices)
        journal.done["comparison"] = {
            **evidence.to_document(),
            "unknown_targets": compared.facts["unknown_targets"],
            "prompted_targets": compared.facts["prompted_targets"],
        }
        self.log(f"comparison ({evidence.name}): {evidence.reason}")
        if not evidence.publish:
            raise _Declined(evidence.reason)
        served = build.refitted(data, fitted)
        bundle = build.assemble(data, fitted, served, SPLIT, refit=True)
        journal.step("publish", lambda: self._publish(journal, bundle, served))

    def _train_ratings(self, journal: Journal, ratings: RefreshedRatings) -> None:
        """The same of a version that predicts ratings."""
        if reason := ratings.reason_to_stop():
            raise _Declined(reason)
        journal.done["training"] = ratings.describe_training()
        passes, reason, journal.done["comparison"] = ratings.compare()
        self.log(f"comparison (ratings): {reason}")
        if not passes:
            raise _Declined(reason)
        bundle, served = ratings.assemble(SPLIT)
        journal.step("publish", lambda: self._publish(journal, bundle, served))

    def _read(
        self, build: Build, running: Running, journal: Journal, forgotten: Mapping[bytes, float]
    ) -> RefreshedDataArtifact:
        """The files and the archive as it was when the refresh began, without forgotten people."""
        for copy in (_events(journal), _drawn(journal)):
            forget_in_copy(copy, forgotten)
        archive, events = self.choices.source.events, _events(journal)
        if archive is not None and not any(events.glob("day=*/*.parquet")):
            until_us = journal.plan["until_us"]
            copy_archive(archive, events, until_us=until_us, forgotten=forgotten)
        exposures, drawn = self.choices.exposures, _drawn(journal)
        if exposures is not None and not any(drawn.glob("day=*/*.parquet")):
            copy_drawn(exposures, drawn, until_us=journal.plan["until_us"], forgotten=forgotten)
        stage = RefreshedDataStage(
            build.source,
            running.bundle,
            journal.plan["holdout"],
            forgotten,
            build.recipe.data,
            build.recipe.events,
            self.log,
        )
        return run_stage(stage, self.choices.root, self.log)

    def _drawn(
        self,
        data: RefreshedDataArtifact,
        candidate: RecommenderArtifact,
        running: Running,
        journal: Journal,
        forgotten: Mapping[bytes, float],
    ) -> DrawnAnswers | None:
        """What answers say that were drawn at random; None where there are none."""
        exposures, choices = _drawn(journal), self.choices
        if not any(exposures.glob("day=*/*.parquet")):
            return None
        stage = DrawnRanksStage(
            *(data, candidate, running.bundle, running.version, exposures, _events(journal)),
            running.recipe.events,
            forgotten,
            running.fresh,
        )
        places = run_stage(stage, choices.root, self.log).places()
        return judge_drawn(places, margin=choices.margin, confidence=choices.confidence)

    def _build(self, running: Running, journal: Journal, start: StartArtifact | None) -> Build:
        choices = self.choices
        return Build(
            replace(choices.source, item_kind=running.item_kind, events=_events(journal)),
            _with_epochs(running.recipe, choices.epochs),
            choices.root,
            log=self.log,
            reranker="now" if running.has_reranker else "never",
            start=start,
        )

    def _publish(self, journal: Journal, folder: Path, served: Artifact) -> Document:
        if self.choices.key is not None:
            PrivateKey.read(self.choices.key).sign(folder, MANIFEST)
        bundle = Bundle.open(folder)
        with running_store(store_url_from()) as url:
            bundles, client = bundles_folder(), connect(url)
            version = publish(bundle, bundles, client, trust=trust_from()).version
            named = named_versions(client)
        # For the next refresh, whatever the stages hold by then.
        user_ids = folder / USER_IDS if bundle.manifest.kind == "rating" else None
        models = self.choices.root / "models"
        StartArtifact.keep(served.folder, folder / ITEM_IDS, models / version, user_ids)
        prune_weights(models, {journal.plan["running"], version, *named})
        self.log(f"published {version}")
        return {"version": version}

    def _finish(self, journal: Journal, outcome: str, reason: str) -> Document:
        steps = {
            name: found
            for name, found in journal.done.items()
            if name not in {"data", "training", "comparison"}
        }
        report = {
            "number": journal.number,
            "model": self.choices.model,
            "outcome": outcome,
            "reason": reason,
            "started_at": journal.plan["started_at"],
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "running": journal.plan["running"],
            "version": steps.get("publish", {}).get("version"),
            "holdout": journal.plan["holdout"],
            **{name: found for name, found in journal.done.items() if name not in steps},
            "steps": steps,
        }
        for folder in (_events(journal), _drawn(journal)):  # they are about people
            shutil.rmtree(folder, ignore_errors=True)
        write_atomically(self.choices.root / METRICS, to_prometheus(report).encode())
        journal.finish(report, describe(report))
        self.log(f"refresh {journal.number}: {outcome}: {reason}")
        self.log(f"report: {journal.folder / 'report.md'}")
        return report


def _events(journal: Journal) -> Path:
    """The archive as it was when the refresh began."""
    return journal.folder / "events"


def _drawn(journal: Journal) -> Path:
    """The answers that had been drawn at random by then."""
    return journal.folder / "drawn"


def _reuse(built: Path, root: Path) -> None:
    """Copy what a build has exported and no data set changes: a language model takes minutes."""
    for name in _LASTING:
        if (built / name / STAGE_MANIFEST).is_file() and not (root / name).exists():
            partial = root / f".{name}.copied"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(built / name, partial)
            partial.rename(root / name)


def _with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    if epochs is None:
        return recipe
    table = "training" if recipe.kind == "sequential" else recipe.kind
    return change_recipe(recipe, f"--epochs {epochs}", **{table: {"epochs": epochs}})


def _describe_training(
    model: RecommenderArtifact, start: StartArtifact | None, version: str
) -> Document:
    warm = start is not None and model.kind == "sequential"
    return {
        "start": f"the weights of {version}" if warm else f"random weights{_why_cold(start)}",
        "best_epoch": model.facts["best_epoch"],
        "ndcg_at_10": model.facts["ndcg_at_10"],
    }


def _why_cold(start: StartArtifact | None) -> str:
    if start is None:
        return ": the running version's were not found in the build's folder"
    return ": a direct model can't go on from others"
