"""The back ends behind HTTP against llama.cpp's servers with real models.

The one for Python: `pip install 'llama-cpp-python[server]'` compiles it, in this environment or in
another one, whose interpreter is given as LLAMA_CPP_PYTHON. llama.cpp's own server
(`cmake --build . --target llama-server`) is given as LLAMA_SERVER, and for `/v1/rerank` a
cross-encoder as RERANKER_GGUF, which `convert_hf_to_gguf.py` makes. The language model is SmolLM2.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import httpx
import numpy as np
import pytest
from scipy.stats import spearmanr

from app.reranking.backend import Endpoint
from app.reranking.client import RerankClient
from app.reranking.completions_backend import CompletionsBackend
from app.reranking.job import Answer, Job, RerankError
from app.reranking.prompts import Prompt
from app.reranking.rerank_backend import RerankBackend
from model_store.aggregation import Weighting
from model_store.bundle import Bundle
from model_store.rerank_prompt import PromptLayout
from model_store.reranker import RerankerInfo
from tests.app.conftest import wait_for
from tests.app.reranking.processes import rerank_process, with_client
from tests.app.reranking.test_endpoints import write_without_graph
from tests.free_ports import free_port

PYTHON = os.environ.get("LLAMA_CPP_PYTHON", sys.executable)
SERVER, CROSS_ENCODER = os.environ.get("LLAMA_SERVER"), os.environ.get("RERANKER_GGUF")
pytestmark = pytest.mark.slow
HAS_PYTHON_SERVER = "LLAMA_CPP_PYTHON" in os.environ or find_spec("llama_cpp") is not None

LAYOUT = PromptLayout(n_candidates=5, n_history=5, n_similar=0)
INFO = RerankerInfo(
    name="smollm2",
    layout=LAYOUT,
    weighting=Weighting(alpha_1=1, alpha_2=0, l_min=0, l_max=1, tail_interactions=3),
)
FILMS = (
    *("Alien (1979)", "Aliens (1986)", "Toy Story (1995)", "The Lion King (1994)"),
    *("Heat (1995)", "Blade Runner (1982)", "Fargo (1996)", "Clerks (1994)"),
    *("Star Wars (1977)", "The Godfather (1972)", "Babe (1995)", "Scream (1996)"),
)


def make_prompts(n: int) -> list[Prompt]:
    random = np.random.default_rng(3)
    made = []
    for _ in range(n):
        films = [FILMS[place] for place in random.permutation(len(FILMS))]
        shown = tuple(random.permutation(5).tolist())
        made.append(Prompt(tuple(films[:5]), tuple(films[5:10]), shown))
    return made


@pytest.fixture(scope="module")
def gguf() -> Path:
    from offline.cache import cache_folder
    from offline.knowledge.causal_model import locate
    from offline.knowledge.config import DEFAULT_MODEL

    folder, name = locate(DEFAULT_MODEL, cache_folder())
    assert name is not None
    return Path(folder) / name


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """URL of a server that a command starts, once it answers."""
    port = free_port()
    with subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert server.poll() is None
            try:
                return httpx.get(f"{url}/v1/models").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_for(answers, 60)
            yield url
        finally:
            server.kill()


@pytest.fixture(scope="module", params=["python", "own"])
def url(request: pytest.FixtureRequest, gguf: Path) -> Iterator[str]:
    if request.param == "python":
        if not HAS_PYTHON_SERVER:
            pytest.skip("needs pip install 'llama-cpp-python[server]'")
        options = ["--logits_all", "true", "--n_ctx", "2048", "--n_threads", "1"]
        command = [PYTHON, "-m", "llama_cpp.server", *options]
    else:
        if SERVER is None:
            pytest.skip("needs LLAMA_SERVER")
        command = [SERVER, "--ctx-size", "2048", "--threads", "1"]
    with serving(*command, "--model", str(gguf)) as url:
        yield url


def test_its_scores_are_the_models_own(url: str, gguf: Path) -> None:
    """The same weights through transformers rank the candidates the same way."""
    from offline.instruction.label_model import open_label_model

    prompts = make_prompts(4)

    async def ask() -> list[object]:
        backend = CompletionsBackend(Endpoint(url, timeout_s=60), INFO)
        try:
            return list(await backend.score(prompts))
        finally:
            await backend.close()

    found = asyncio.run(ask())
    model = open_label_model(str(gguf), gguf.parent, "cpu")
    texts = [prompt.listwise(LAYOUT) for prompt in prompts]
    expected = model.scores(texts, [5] * len(prompts))
    agreements = []
    for prompt, scores, of_labels in zip(prompts, found, expected, strict=True):
        assert not isinstance(scores, RerankError), scores
        wanted = prompt.in_recommenders_order(of_labels)
        agreements.append(float(spearmanr(scores, wanted).statistic))
    assert np.mean(agreements) > 0.8, agreements


def test_the_process_ranks_with_it(url: str, rerank_bundle: Bundle, tmp_path: Path) -> None:
    folder = write_without_graph(rerank_bundle, tmp_path / "b")

    async def ask(client: RerankClient) -> Answer:
        await client.load("rerank-1", folder)
        return await client.ask(Job("rerank-1", "u1", (1, 2, 3), (4, 5, 6, 7)))

    with rerank_process(
        tmp_path / "socket", "--timeout-ms", "60000", LONGTAIL_RERANK_URL=f"{url}/v1"
    ):
        answer = with_client(tmp_path / "socket", ask)
    assert np.isfinite(answer.scores).all()
    assert len(set(answer.scores.tolist())) > 1


@pytest.mark.skipif(not (SERVER and CROSS_ENCODER), reason="needs LLAMA_SERVER and RERANKER_GGUF")
def test_a_cross_encoder_scores_titles() -> None:
    assert SERVER is not None
    assert CROSS_ENCODER is not None
    prompts = make_prompts(4)

    async def ask(prompts: list[Prompt]) -> list[object]:
        backend = RerankBackend(Endpoint(url, "rerank", timeout_s=60), LAYOUT)
        try:
            return list(await backend.score(prompts))
        finally:
            await backend.close()

    # Shown in another order, titles have the same scores.
    others = [replace(prompt, shown=prompt.shown[::-1]) for prompt in prompts]
    with serving(SERVER, "--reranking", "--model", CROSS_ENCODER, "--threads", "1") as url:
        found, again = asyncio.run(ask(prompts)), asyncio.run(ask(others))
    for scores, same in zip(found, again, strict=True):
        assert isinstance(scores, np.ndarray), scores
        assert isinstance(same, np.ndarray), same
        assert scores == pytest.approx(same, rel=1e-3)
        assert len(set(scores.tolist())) == 5
