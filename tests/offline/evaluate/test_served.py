"""A service's figures are those of the offline protocol, whatever the histories hold."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest

from model_store.errors import ConfigError, InputError
from offline.data.histories import Histories
from offline.data.split import Cases
from offline.evaluate.served import ServedFigures, evaluate_service
from offline.metrics import UNRANKED, rank_cases
from tests.app.running import Running, serving
from tests.offline.recommender.planted import cases_of
from tests.synthetic_bundle import Catalogue, expected_scores, make_bundle, make_catalogue

N_ITEMS, K = 12_000, 10


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return make_catalogue(N_ITEMS)


@pytest.fixture(scope="module")
def service(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    bundle = make_bundle(folder / "bundle", catalogue=catalogue, with_encoder=False)
    with serving(folder, bundle.folder) as running:
        yield running


@pytest.fixture(scope="module")
def cases(catalogue: Catalogue) -> Cases:
    """Targets that are recommended, that the history holds, and that follow very long ones."""
    rng = np.random.default_rng(3)
    histories, targets = [], []
    for length in (1, 3, 7, 20, 60, 200):
        history = rng.integers(1, N_ITEMS + 1, length).astype(np.int32)
        best = np.argsort(-expected_scores(catalogue.table, history), kind="stable")
        unseen = [item for item in best.tolist() if item not in history and item]
        histories += [history] * 3
        targets += [unseen[length % K], unseen[500], int(history[0])]
    # Each view is followed by a purchase of the same item, which is the target.
    pairs = np.repeat(rng.integers(1, N_ITEMS + 1, 15), 2).astype(np.int32)
    histories.append(pairs[:-1])
    targets.append(int(pairs[-1]))
    # A bot: the best item that it does not have is what it gets.
    bot = rng.permutation(N_ITEMS)[:11_500].astype(np.int32) + 1
    scores = expected_scores(catalogue.table, bot)
    scores[0] = scores[bot] = -np.inf
    histories += [bot, bot]
    targets += [int(scores.argmax()), int(bot[0])]
    return cases_of(histories, targets)


def test_a_service_ranks_as_the_offline_protocol_does(
    service: Running, catalogue: Catalogue, cases: Cases
) -> None:
    def score(histories: Histories) -> np.ndarray:
        return np.stack([expected_scores(catalogue.table, history) for history in histories])

    offline = rank_cases(score, cases).ranks
    url = f"http://127.0.0.1:{service.port}"
    users = [f"somebody {n}" for n in range(len(cases))]
    served = evaluate_service(url, cases, users, catalogue.ids, K)
    np.testing.assert_array_equal(served.ranks, np.where(offline <= K, offline, UNRANKED))
    assert (offline[cases.are_repeats()] == UNRANKED).all()
    assert cases.are_repeats().sum() == 8
    assert served.hit_rate == pytest.approx(7 / len(cases))
    assert served.n_cut == 2


class _WantsKey(BaseHTTPRequestHandler):
    """Answers requests with the right key, and keeps what it was given."""

    given: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers.get("Authorization")
        self.given.append(key)
        is_right = key == "Bearer lt_0a1b2c3d_secret-of-a-caller"
        answer = {"model_version": "v", "rerank": "skipped", "items": [{"item_id": "i1"}]}
        content = json.dumps(answer if is_right else {"detail": "the caller's key is wrong"})
        self.send_response(200 if is_right else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_: object) -> None:
        pass


def test_the_key_of_the_environment_goes_along_and_is_not_shown(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = cases_of([np.array([2], dtype=np.int32)], [1])
    with ThreadingHTTPServer(("127.0.0.1", 0), _WantsKey) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask() -> ServedFigures:
            url = f"http://127.0.0.1:{server.server_port}"
            return evaluate_service(url, cases, ["somebody"], catalogue.ids, K)

        monkeypatch.delenv("LONGTAIL_CALLER_KEY", raising=False)
        with pytest.raises(InputError, match=r"401.*; LONGTAIL_CALLER_KEY is unset"):
            ask()
        monkeypatch.setenv("LONGTAIL_CALLER_KEY", "wrong-secret")
        with pytest.raises(InputError, match=r"LONGTAIL_CALLER_KEY is no key of") as rejected:
            ask()
        monkeypatch.setenv("LONGTAIL_CALLER_KEY", "wrong-secret–")
        with pytest.raises(ConfigError, match=r"^LONGTAIL_CALLER_KEY: has characters") as unusable:
            ask()
        monkeypatch.setenv("LONGTAIL_CALLER_KEY", " lt_0a1b2c3d_secret-of-a-caller\n")
        assert ask().hit_rate == 1
        server.shutdown()
    assert "wrong-secret" not in f"{rejected.value} {unusable.value}"
    assert _WantsKey.given[0] is None
    assert len(_WantsKey.given) == 3
