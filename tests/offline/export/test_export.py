from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model_store.errors import InputError
from model_store.golden import read_golden
from model_store.id_map import IdMap
from model_store.manifest import ModelInfo
from offline.export.bundle_files import ExportReport, export_model, spread_by_length
from offline.export.parity import check_parity, probe
from offline.recommender import sequential
from offline.recommender.backbones import new_backbone
from offline.recommender.backbones.sasrec import Sasrec
from offline.recommender.config import (
    Bert4recConfig,
    CaserConfig,
    Gru4recConfig,
    HstuConfig,
    LightsansConfig,
    PaupConfig,
    SasrecConfig,
    TrainingConfig,
)
from offline.recommender.ensemble import Ensemble
from offline.recommender.exported import ExportedNetwork, check_serving_path
from offline.recommender.graph import HISTORY, ITEM_TABLE, SCORES, USER, export_graph
from offline.recommender.recommender import ParityError, rank_unseen
from offline.recommender.sequential import SequenceRecommender
from tests.offline.recommender.planted import N_ITEMS, fresh_histories, planted_cycle, walk

pytestmark = pytest.mark.slow

SIZE, MAX_LENGTH = 16, 8
IDS = IdMap([f"film {index}" for index in range(1, N_ITEMS + 1)])


@pytest.fixture(scope="module")
def model() -> SequenceRecommender:
    config = SasrecConfig(embedding_size=SIZE, layers=2, heads=2, max_length=MAX_LENGTH)
    return SequenceRecommender(config, TrainingConfig(epochs=2, batch_size=16)).fit(planted_cycle())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def report(model: SequenceRecommender, folder: Path) -> ExportReport:
    return export_model(model, IDS, fresh_histories(), folder, n_golden=7)


def copy_graph(folder: Path, _backbone: object, _size: int, path: Path) -> None:
    """In place of another export of the same network, which takes seconds."""
    shutil.copy(folder / "model.onnx", path)


@pytest.fixture
def network(report: ExportReport, model: SequenceRecommender, folder: Path) -> ExportedNetwork:
    return ExportedNetwork(folder / "model.onnx", model.item_table, MAX_LENGTH)


def test_the_report_names_the_checks(report: ExportReport) -> None:
    assert report.parity.max_difference <= 1e-4
    assert (report.parity.shortest, report.parity.longest) == (1, MAX_LENGTH)
    assert 0 < report.request_ms < 1000


def test_the_model_is_described_as_it_is(report: ExportReport, folder: Path) -> None:
    info = ModelInfo.model_validate_json((folder / "model.json").read_bytes())
    assert info == ModelInfo.of_sequence_graph("sasrec", SIZE, MAX_LENGTH)


def test_the_graph_has_the_promised_ends(report: ExportReport, folder: Path) -> None:
    body = onnx.load(folder / "model.onnx").graph

    def ends(values) -> dict[str, tuple[int, list[str | int]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    int64, float32 = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    assert ends(body.input) == {
        HISTORY: (int64, ["B", "L"]),
        ITEM_TABLE: (float32, ["N_plus_1", SIZE]),
    }
    assert ends(body.output) == {
        SCORES: (float32, ["B", "N_plus_1"]),
        USER: (float32, ["B", SIZE]),
    }


def test_no_table_and_nothing_of_this_machine_is_in_the_graph(
    report: ExportReport, folder: Path
) -> None:
    content = (folder / "model.onnx").read_bytes()
    weights = onnx.load(folder / "model.onnx").graph.initializer
    assert all(N_ITEMS + 1 not in weight.dims and N_ITEMS not in weight.dims for weight in weights)
    for trace in (b"site-packages", b".py", str(folder).encode(), b"/home", b"/root"):
        assert trace not in content


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 2, 5, MAX_LENGTH])
def test_any_batch_and_length_and_table_answer_as_torch(
    report: ExportReport, folder: Path, model: SequenceRecommender, batch: int, length: int
) -> None:
    rng = np.random.default_rng(length)
    grown = np.vstack([model.item_table, rng.normal(size=(9, SIZE)).astype(np.float32)])
    history = rng.integers(1, len(grown), (batch, length))
    history[0, : length // 2] = 0
    feeds = {HISTORY: history, ITEM_TABLE: grown}
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    scores, user = session.run([SCORES, USER], feeds)
    with torch.inference_mode():
        items = torch.from_numpy(grown)[torch.from_numpy(history)]
        wanted = model.backbone.last(items, torch.from_numpy(history) != 0).numpy()
    np.testing.assert_allclose(user, wanted, atol=1e-5)
    np.testing.assert_allclose(scores, wanted @ grown.T, atol=1e-5)


def test_padding_does_not_change_an_answer(network: ExportedNetwork) -> None:
    short = fresh_histories(4)[3][-MAX_LENGTH + 3 :]
    assert 0 < len(short) < MAX_LENGTH
    full = np.arange(1, MAX_LENGTH + 1, dtype=np.int32)
    together = network.score([short, full])
    np.testing.assert_allclose(together[:1], network.score([short]), atol=1e-5)


def test_the_arrays_are_the_models(
    report: ExportReport, folder: Path, model: SequenceRecommender
) -> None:
    table = np.load(folder / "item_table.npy", mmap_mode="r", allow_pickle=False)
    projection = np.load(folder / "fresh_projection.npy", allow_pickle=False)
    assert table.dtype == projection.dtype == np.float32
    assert not table[0].any()
    np.testing.assert_array_equal(table, model.item_table)
    np.testing.assert_array_equal(projection, model.fresh_projection)


def test_users_who_have_seen_every_item_make_golden_requests_too(
    report: ExportReport,
    folder: Path,
    model: SequenceRecommender,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service takes no bundle without one."""
    monkeypatch.setattr(sequential, "export_graph", partial(copy_graph, folder))
    seen = [walk(1, N_ITEMS), np.repeat(walk(7, N_ITEMS), 2), np.tile(walk(3, N_ITEMS), 3)]
    export_model(model, IDS, seen, tmp_path)
    shortest, middle, longest = read_golden(tmp_path / "golden.json", IDS)
    # The oldest of the items that the user had last is what is left to recommend.
    assert shortest.history == tuple(f"film {item}" for item in seen[0][1:])
    assert shortest.item_ids == ("film 1",)
    assert middle.item_ids == ("film 7",)
    assert middle.history == tuple(f"film {item}" for item in seen[1][2:])
    assert longest.item_ids == ("film 3",)
    assert len(longest.history) == N_ITEMS - 1


def test_golden_requests_are_answered_by_torch_too(
    report: ExportReport, folder: Path, model: SequenceRecommender
) -> None:
    golden = json.loads((folder / "golden.json").read_bytes())
    assert len(golden) == 7
    for request in golden:
        history, unknown = IDS.indices(request["history"])
        assert unknown == 0
        best, scores = rank_unseen(model.score, [history], request["k"])
        assert [IDS.id_of(int(item)) for item in best[0]] == request["item_ids"]
        assert not set(request["item_ids"]) & set(request["history"])
        np.testing.assert_allclose(scores[0], request["scores"], atol=1e-4)


def test_a_graph_of_other_weights_is_rejected(
    network: ExportedNetwork, model: SequenceRecommender
) -> None:
    altered = SequenceRecommender(model.config, model.training)
    altered.backbone = model.backbone
    altered.item_table = model.item_table.copy()
    altered.item_table[5] *= 1.1
    with pytest.raises(ParityError, match=r"differ from torch's by .* \(allowed: 1e-04\)"):
        check_parity(altered, network, probe(fresh_histories(), MAX_LENGTH))


def test_a_serving_path_that_differs_from_the_trained_one_is_rejected(
    model: SequenceRecommender, tmp_path: Path
) -> None:
    class Stray(Sasrec):
        def last(self, items: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
            return super().last(items, present) + 0.01

    stray = SequenceRecommender(model.config, model.training)
    stray.item_table = model.item_table
    stray.backbone = Stray(model.config).eval()
    stray.backbone.load_state_dict(model.backbone.state_dict())
    with pytest.raises(ParityError, match="serving path of Stray differs"):
        export_model(stray, IDS, fresh_histories(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_checked_is_not_exported(
    model: SequenceRecommender, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="there is none"):
        export_model(model, IDS, [np.zeros(0, np.int32)], tmp_path)
    with pytest.raises(InputError, match="30 items, the id map 1"):
        export_model(model, IdMap(["one"]), fresh_histories(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_checked_histories_are_spread_over_the_lengths() -> None:
    histories = [np.ones(length, np.int32) for length in (9, 1, 5, 3, 7)]
    assert [len(h) for h in spread_by_length(histories, 3)] == [1, 5, 9]
    assert len(spread_by_length(histories, 10)) == 5


def test_the_graph_has_fused_operators(report: ExportReport, folder: Path) -> None:
    """An operator costs a microsecond whatever it does; small requests consist of them."""
    nodes = onnx.load(folder / "model.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("Attention") == 2
    assert kinds.count("RotaryEmbedding") == 4
    assert kinds.count("Softmax") == 0
    assert len(kinds) < 80


def test_every_backbone_answers_as_torch(tmp_path: Path) -> None:
    """Untrained, but over a table that makes scores of a real size, at ragged lengths.

    As one ensemble: to export them one by one takes seconds each.
    """
    shape: dict[str, Any] = {"embedding_size": SIZE, "max_length": MAX_LENGTH}
    configs = [
        Bert4recConfig(**shape, layers=1),
        Gru4recConfig(**shape),
        CaserConfig(**shape, window=3),
        HstuConfig(**shape, layers=1),
        LightsansConfig(**shape, layers=1),
        PaupConfig(**shape, layers=1),
    ]
    width = SIZE * len(configs)
    model = SequenceRecommender(SasrecConfig(**shape), TrainingConfig())
    model.backbone = Ensemble([new_backbone(config) for config in configs]).eval()
    model.item_table = np.random.default_rng(0).normal(size=(N_ITEMS + 1, width)).astype(np.float32)
    model.item_table[0] = 0.0
    model.item_table *= len(configs)  # the mean over as many is the sum
    export_graph(model.backbone, width, tmp_path / "model.onnx")
    network = ExportedNetwork(tmp_path / "model.onnx", model.item_table, MAX_LENGTH)
    probes = probe(fresh_histories(), MAX_LENGTH)
    check_serving_path(model.backbone, model.item_table, probes)
    parity = check_parity(model, network, probes)
    assert (parity.shortest, parity.longest) == (1, MAX_LENGTH)
    assert parity.max_difference <= 1e-4
