"""`python -m offline.instruction.pace`: how long a rerank takes, and what 8 bits change.

A language model is exported in float32 and in int8. Prompts of real users are ranked by both and,
in the same run, by the paper's generate-and-parse. The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_store.errors import ConfigError, InputError, LongtailError
from model_store.rerank_prompt import PromptLayout
from model_store.reranker import LabelGraph
from offline.cache import cache_folder
from offline.data.dataset import Dataset, read_dataset
from offline.inputs import find_source
from offline.instruction.generation import GenerativeRanker, read_ranking, written_ranking
from offline.instruction.label_graph import Precision, export_label_graph
from offline.instruction.label_model import LabelModel, open_label_model
from offline.instruction.onnx_scorer import GRAPH_FILE, OnnxLabelScorer
from offline.instruction.sample_prompts import SamplePrompt, sample_prompts
from offline.knowledge.config import DEFAULT_MODEL
from offline.progress import track

PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
# History items and candidates of a prompt, as many of each.
SIZES = (20, 10)
PROMPTS_A_ROUND, GENERATED = 10, 3
MIN_PROMPTS = 4


@dataclass(frozen=True)
class Timing:
    """Time of one rerank, tokenisation included.

    Attributes:
        method: float32 or int8 of the graph; generation by torch in float32; int8 decoding, which
            is the least time that generation by the graph in int8 would take.
        size: history items, and as many candidates.
        threads: of the computation.
        p50_ms: median.
        p90_ms: 90th percentile.
        n_measured: reranks.
    """

    method: str
    size: int
    threads: int
    p50_ms: float
    p90_ms: float
    n_measured: int

    @classmethod
    def of(cls, method: str, size: int, threads: int, times_s: Sequence[float]) -> Timing:
        """The timing of reranks that took so long each."""
        p50_ms, p90_ms = (round(float(q), 1) for q in np.quantile(times_s, [0.5, 0.9]) * 1e3)
        return cls(method, size, threads, p50_ms, p90_ms, len(times_s))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.prompts < MIN_PROMPTS:
            raise ConfigError(f"--prompts {chosen.prompts}: at least {MIN_PROMPTS}")
        source = find_source(chosen.interactions, None, None)
        dataset = read_dataset(source.interactions, source.items)
        model = open_label_model(chosen.model, cache_folder(), "cpu")
        figures = measure(model, dataset, chosen.prompts, chosen.threads or [2, 1])
    except LongtailError as error:
        print(f"offline.instruction.pace: {error}", file=sys.stderr)
        return 1
    print(_table(figures))
    print(json.dumps(figures))
    return 0


def measure(
    model: LabelModel, dataset: Dataset, n_prompts: int, threads: Sequence[int]
) -> dict[str, Any]:
    """Figures of a model as JSON types, on prompts of a data set's users.

    Raises:
        LongtailError: the model can't be exported, or the data set has too short histories.
    """
    if np.diff(dataset.interactions.offsets).max() < max(SIZES):
        raise InputError(f"no user of the data set has {max(SIZES)} interactions")
    load = os.getloadavg()[0]
    layouts = {n: PromptLayout(n_history=n, n_candidates=n, n_similar=0) for n in SIZES}
    prompts = {n: sample_prompts(dataset, layouts[n], n_prompts) for n in SIZES}
    with tempfile.TemporaryDirectory() as name:
        folders = {precision: Path(name, precision) for precision in PRECISIONS}
        graphs = {
            precision: _export(model, folder, precision, prompts[max(SIZES)])
            for precision, folder in track([*folders.items()], "exporting graphs")
        }
        timings = []
        for n_threads in threads:
            scorers = {
                precision: OnnxLabelScorer.open(folders[precision], graph, n_threads)
                for precision, graph in graphs.items()
            }
            for size in SIZES:
                timings += _time_graphs(scorers, prompts[size], n_threads)
                n_tokens = _answer_tokens(model, layouts[size], prompts[size])
                timings.append(_decoding(timings[-1], scorers["int8"], n_tokens))
        file_bytes = {p: (folder / GRAPH_FILE).stat().st_size for p, folder in folders.items()}
    timings += [_time_generation(model, layouts[n], prompts[n], max(threads)) for n in SIZES]
    return {
        "model": model.name,
        "n_tokens": {n: _median_tokens(model, prompts[n]) for n in SIZES},
        "file_bytes": file_bytes,
        "rank_agreement": {p: graph.rank_agreement for p, graph in graphs.items()},
        "n_prompts": n_prompts,
        "timings": [vars(timing) for timing in timings],
        "load_average": [load, os.getloadavg()[0]],
    }


def _export(
    model: LabelModel, folder: Path, precision: Precision, prompts: Sequence[SamplePrompt]
) -> LabelGraph:
    texts, counts = [p.text for p in prompts], [len(p.candidates) for p in prompts]
    return export_label_graph(model, folder, precision, texts, counts)


def _time_graphs(
    scorers: Mapping[Precision, OnnxLabelScorer], prompts: Sequence[SamplePrompt], threads: int
) -> list[Timing]:
    """Each precision on the same prompts, in alternating rounds, one prompt at a time."""
    size = len(prompts[0].candidates)
    times_s: dict[Precision, list[float]] = {precision: [] for precision in scorers}
    starts = range(0, len(prompts), PROMPTS_A_ROUND)
    for start in track(starts, f"reranking {size} with {threads} threads"):
        for precision, scorer in scorers.items():
            chosen = prompts[start : start + PROMPTS_A_ROUND]
            _seconds(scorer.scores, [chosen[0].text], [size])  # takes memory, wakes threads
            times_s[precision] += [
                _seconds(scorer.scores, [prompt.text], [size]) for prompt in chosen
            ]
    return [Timing.of(precision, size, threads, found) for precision, found in times_s.items()]


def _decoding(rerank: Timing, scorer: OnnxLabelScorer, n_tokens: int) -> Timing:
    """The prompt's pass, and one for each token of the answer that attends to nothing before it."""
    step_ms = np.median([_seconds(scorer.scores, ["."], [1]) for _ in range(n_tokens)]) * 1e3
    steps_ms = round(float(step_ms) * n_tokens, 1)
    return replace(
        rerank,
        method="int8 decoding",
        p50_ms=rerank.p50_ms + steps_ms,
        p90_ms=rerank.p90_ms + steps_ms,
    )


def _answer_tokens(model: LabelModel, layout: PromptLayout, prompts: Sequence[SamplePrompt]) -> int:
    """Median length of an answer that names all candidates by title."""
    ranker = GenerativeRanker(model, layout)
    answers = [written_ranking([layout.clean(t) for t in p.candidates]) for p in prompts]
    return int(np.median([ranker.n_tokens(answer) for answer in answers]))


def _time_generation(
    model: LabelModel, layout: PromptLayout, prompts: Sequence[SamplePrompt], threads: int
) -> Timing:
    """Answers that name all candidates by title, as a model tuned to write them would give.

    The length is fixed, since a model that was not tuned ends too early or too late.
    """
    ranker = GenerativeRanker(model, layout)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)

    def rank(prompt: SamplePrompt) -> list[int]:
        titles = [layout.clean(title) for title in prompt.candidates]
        length = ranker.n_tokens(written_ranking(titles))
        return read_ranking(ranker.write(prompt.text, length, length), titles, prompt.shown)

    try:
        chosen = prompts[:GENERATED]
        times_s = [_seconds(rank, prompt) for prompt in track(chosen, "generating rankings")]
    finally:
        torch.set_num_threads(before)
    return Timing.of("generation", layout.n_candidates, threads, times_s)


def _seconds(function: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def _median_tokens(model: LabelModel, prompts: Sequence[SamplePrompt]) -> int:
    return int(np.median([len(row) for row in model.encoder.encode([p.text for p in prompts])]))


def _table(figures: Mapping[str, Any]) -> str:
    """The timings as lines for people, with how many times the generation's time they save."""
    slowest = {t["size"]: t["p50_ms"] for t in figures["timings"] if t["method"] == "generation"}
    lines = [f"{'method':14}{'size':>6}{'threads':>9}{'p50 ms':>10}{'p90 ms':>10}{'faster':>9}"]
    for timing in figures["timings"]:
        faster = slowest[timing["size"]] / timing["p50_ms"]
        lines.append(
            f"{timing['method']:14}{timing['size']:6}{timing['threads']:9}"
            f"{timing['p50_ms']:10.1f}{timing['p90_ms']:10.1f}{faster:8.1f}x"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m offline.instruction.pace",
        description="Measure how long a rerank takes: as a graph of labels in float32 and int8,\n"
        "and by generating and parsing a ranking. Candidates and history have 20 items\n"
        "each, then 10.",
        epilog="example:\n  python -m offline.instruction.pace --threads 2 --threads 1",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help=f"Hugging Face id, folder or .gguf file of a language model ({DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--interactions",
        default="movielens-100k",
        metavar="NAME",
        help="data set with titles: a name or a path (movielens-100k)",
    )
    parser.add_argument(
        "--prompts", type=int, default=100, metavar="N", help="prompts of each size (100)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        action="append",
        metavar="N",
        help="of the computation; may be repeated (2 and 1)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
