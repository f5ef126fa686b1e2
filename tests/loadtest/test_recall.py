"""Recall of servers that are known to find all, or nine of ten."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from loadtest.bench.bundles import BundleFiles
from loadtest.bench.recall import Judge, Question, exact_kth_scores
from loadtest.errors import TargetError
from loadtest.target import Address
from loadtest.workload import read_histories
from tests.synthetic_bundle import Catalogue, expected_scores, make_bundle, make_catalogue

Spoil = Callable[[list[tuple[str, float]]], list[tuple[str, float]]]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalogue, BundleFiles]:
    catalogue = make_catalogue(n_items=400, n_users=12)
    folder = tmp_path_factory.mktemp("recall") / "synthetic-1"
    make_bundle(folder, catalogue=catalogue)
    return catalogue, BundleFiles(folder)


@contextmanager
def serving(catalogue: Catalogue, spoil: Spoil = lambda ranked: ranked) -> Iterator[Address]:
    """Answers as the service would, by exact scores; `spoil` may change the ranking at the end."""
    rows_of = {catalogue.ids.id_of(row): row for row in range(1, len(catalogue.ids) + 1)}

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        history = np.array([rows_of[item_id] for item_id in body["history"]], np.int32)
        scores = expected_scores(catalogue.table, history)
        allowed = set(rows_of) & set(body.get("candidates") or rows_of)
        if body.get("exclude_seen", True):
            allowed -= set(body["history"])
        allowed -= set(body.get("exclude") or ())
        for name, rule in (body.get("filters") or {}).items():
            column = catalogue.attributes.get(name)
            assert column is not None
            values = column.values
            allowed &= {i for i in allowed if set(values[rows_of[i] - 1] or ()) & set(rule["any"])}
        ranked = sorted(((i, float(scores[rows_of[i]])) for i in allowed), key=lambda x: -x[1])
        if "candidates" not in body:
            ranked = spoil(ranked)
        return {"items": [{"item_id": i, "score": s} for i, s in ranked[: body["k"]]]}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = json.dumps(answer(body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Address("127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def ask_three_ways(address: Address, files: BundleFiles) -> tuple[list[float], bool]:
    """Recall of plain, filtered and excluding requests; whether golden answers agree."""
    histories = list(read_histories(files.folder, [f"u{n}" for n in range(1, 13)]).values())
    judge = Judge(address, files, histories)
    attribute, value, allowed = files.find_filter(0.3)
    filters = {"filters": {attribute: {"any": [value]}}}
    found = [
        judge.recall([Question(history) for history in histories], 10),
        judge.recall([Question(history, extras=filters) for history in histories], 10, allowed),
        judge.recall([Question(h, excluded=judge.top_items(h, 30)) for h in histories], 10),
    ]
    return [recall for recall, _ in found], judge.agrees_with_golden(files.golden)


def test_a_server_that_finds_all_has_a_recall_of_one(
    synthetic: tuple[Catalogue, BundleFiles],
) -> None:
    with serving(synthetic[0]) as address:
        assert ask_three_ways(address, synthetic[1]) == ([1.0, 1.0, 1.0], True)


def test_a_server_that_misses_the_fourth_best_finds_nine_of_ten(
    synthetic: tuple[Catalogue, BundleFiles],
) -> None:
    with serving(synthetic[0], lambda ranked: ranked[:3] + ranked[4:]) as address:
        recalls, agrees = ask_three_ways(address, synthetic[1])
    # The excluded are what the server itself returned, so among the rest is the one it missed.
    assert recalls[:2] == [0.9, 0.9]
    assert recalls[2] < 1.0
    assert agrees


def test_short_answers_are_counted(synthetic: tuple[Catalogue, BundleFiles]) -> None:
    histories = list(read_histories(synthetic[1].folder, ["u1", "u2"]).values())
    with serving(synthetic[0], lambda ranked: ranked[:7]) as address:
        judge = Judge(address, synthetic[1], histories)
        assert judge.recall([Question(history) for history in histories], 10) == (0.7, 2)


def test_scores_that_are_no_products_are_noticed(synthetic: tuple[Catalogue, BundleFiles]) -> None:
    """Else a service could rank by anything and get a good figure."""
    squared = Catalogue(**{**vars(synthetic[0]), "table": synthetic[0].table ** 3})
    histories = list(read_histories(synthetic[1].folder, ["u1"]).values())
    with (
        serving(squared) as address,
        pytest.raises(TargetError, match="no products of item rows with one vector"),
    ):
        Judge(address, synthetic[1], histories)


def test_an_excluded_item_that_comes_back_is_an_error(
    synthetic: tuple[Catalogue, BundleFiles],
) -> None:
    history = read_histories(synthetic[1].folder, ["u1"])["u1"]
    with serving(synthetic[0], lambda ranked: [(history[0], 99.0), *ranked]) as address:
        judge = Judge(address, synthetic[1], [history])
        with pytest.raises(TargetError, match=f"{history[0]} was excluded but returned"):
            judge.recall([Question(history)], 10)


def test_the_kth_score_is_exact_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.bench.recall.CHUNK_ROWS", 64)
    rng = np.random.default_rng(1)
    table = rng.standard_normal((501, 8)).astype(np.float32)
    vectors = rng.standard_normal((3, 8))
    barred = [np.array([1, 64, 65, 500]), np.array([], np.int64), np.arange(1, 498)]
    allowed = np.sort(rng.choice(np.arange(1, 501), 250, replace=False))
    for only in (None, allowed):
        found = exact_kth_scores(table, vectors, barred, 5, only)
        for number, vector in enumerate(vectors):
            rows = set(range(1, 501)) if only is None else set(only.tolist())
            left = np.array(sorted(rows - set(barred[number].tolist())))
            scores = np.sort(table[left] @ vector)[::-1]
            wanted = scores[4] if len(scores) >= 5 else -np.inf
            assert found[number] == pytest.approx(wanted, abs=1e-4)
