"""The bundle's own language model as a back end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from app.reranking.calibration import expected_ratings, label_scores
from app.reranking.job import RerankError, Scores
from app.reranking.onnx_backend import OnnxBackend
from app.reranking.prompts import Prompt
from model_store.bundle import Bundle
from model_store.errors import BundleError
from model_store.reranker import RerankerInfo
from tests.synthetic_reranker import expected_label_scores, reranker_graph, reranker_tokenizer

PROMPT = Prompt(("Drama 1",), ("Comedy 2", "Western 3", "Action 4"), shown=(1, 2, 0))
OTHER = Prompt(("Drama 1", "Horror 9"), ("Horror 2", "Drama 3"), shown=(0, 1))


def info_of(bundle: Bundle, **changes: object) -> RerankerInfo:
    info = bundle.manifest.reranker
    assert info is not None
    return info.model_copy(update=changes)


def open_backend(bundle: Bundle, info: RerankerInfo | None = None) -> OnnxBackend:
    info = info or info_of(bundle)
    assert info.graph is not None
    return asyncio.run(OnnxBackend.open(bundle, info, info.graph, "cpu", 1))


def score(backend: OnnxBackend, *prompts: Prompt) -> list[Scores | RerankError]:
    return asyncio.run(backend.score(prompts))


def listed(found: Scores | RerankError) -> list[float]:
    assert not isinstance(found, RerankError), found
    assert found.dtype == np.float32
    return [round(float(one), 5) for one in found]


def test_listwise_scores_are_the_logits_of_the_labels(rerank_bundle: Bundle) -> None:
    backend = open_backend(rerank_bundle)
    for prompts in ((PROMPT, OTHER), (OTHER,), (PROMPT,)):
        for prompt, found in zip(prompts, score(backend, *prompts), strict=True):
            assert listed(found) == expected_label_scores(prompt.candidates)


def test_the_bias_of_a_label_is_taken_from_the_candidate_that_has_it(
    rerank_bundle: Bundle,
) -> None:
    bias = (0.5, 0.25, 0.125, 0.0, 0.0, 0.0)
    backend = open_backend(rerank_bundle, info_of(rerank_bundle, label_bias=bias))
    [found] = score(backend, PROMPT)
    # Labels A, B, C stand for candidates 1, 2, 0.
    assert listed(found) == [2.0 - 0.125, 6.0 - 0.5, 1.0 - 0.25]


def test_pointwise_scores_are_expected_ratings_and_share_the_beginning(
    rerank_bundle: Bundle,
) -> None:
    backend = open_backend(rerank_bundle, info_of(rerank_bundle, mode="pointwise"))
    together = score(backend, PROMPT, OTHER)
    for prompt, found in zip((PROMPT, OTHER), together, strict=True):
        # Each candidate as if it were alone: the graph's ratings rise with all words seen.
        alone = [
            score(backend, Prompt(prompt.history, (candidate,), (0,)))[0]
            for candidate in prompt.candidates
        ]
        assert listed(found) == [listed(one)[0] for one in alone]
        order = np.argsort(listed(found)).tolist()
        assert order == np.argsort(expected_label_scores(prompt.candidates)).tolist()
        assert all(1 <= rating <= 5 for rating in listed(found))


def test_a_prompt_that_is_too_long_is_left_out_of_the_batch(rerank_bundle: Bundle) -> None:
    info = info_of(rerank_bundle)
    assert info.graph is not None
    graph = info.graph.model_copy(update={"max_tokens": 60})
    backend = open_backend(rerank_bundle, info.model_copy(update={"graph": graph}))
    long = Prompt(("Drama 1 x y z u v w",) * 10, ("Drama 1",) * 6, tuple(range(6)))
    fine, failed = score(backend, OTHER, long)
    assert listed(fine) == expected_label_scores(OTHER.candidates)
    assert isinstance(failed, RerankError)
    assert "tokens, the limit is 60" in str(failed)


def write_bundle(folder: Path, bundle: Bundle, graph: onnx.ModelProto) -> Bundle:
    """The bundle with another graph; only what a back end opens."""
    folder.mkdir()
    onnx.save(graph, folder / "reranker.onnx")
    reranker_tokenizer().save(str(folder / "reranker_tokenizer.json"))
    return Bundle(folder, bundle.manifest)


def test_a_graph_without_finite_scores_is_not_loaded(rerank_bundle: Bundle, tmp_path: Path) -> None:
    graph = reranker_graph()
    [ratings] = [one for one in graph.graph.initializer if one.name == "nothing"]
    ratings.CopyFrom(numpy_helper.from_array(np.array(np.nan, np.float32), "nothing"))
    with pytest.raises(BundleError, match="not finite"):
        open_backend(write_bundle(tmp_path / "b", rerank_bundle, graph))


def test_a_graph_of_other_tensors_is_not_loaded(rerank_bundle: Bundle, tmp_path: Path) -> None:
    graph = reranker_graph()
    graph.graph.node[-1].output[0] = graph.graph.output[0].name = "scores"
    with pytest.raises(BundleError, match="the graph has no output 'logits'"):
        open_backend(write_bundle(tmp_path / "b", rerank_bundle, graph))


def test_expected_ratings_are_the_mean_over_the_tokens_probabilities() -> None:
    logits = np.log(np.array([[0.1, 0.1, 0.1, 0.1, 0.6], [0.2] * 5], np.float32)) + 700
    assert expected_ratings(logits).round(4).tolist() == [4.0, 3.0]


def test_a_short_list_has_the_bias_of_its_own_labels() -> None:
    found = label_scores(np.array([1, 2], np.float32), (0.5, 1.5, 9.0))
    assert found.tolist() == [0.5, 0.5]
