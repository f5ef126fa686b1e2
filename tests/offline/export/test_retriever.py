from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pytest

from model_store.errors import InputError
from model_store.files import hash_file
from model_store.id_map import IdMap
from model_store.knowledge_texts import TextArrays
from model_store.lists import measure_list_stds
from model_store.manifest import Probe, RetrieverInfo
from offline.assembly import BundleParts, gather_files
from offline.export.bundle_files import ExportReport, export_model
from offline.export.config import RetrievalConfig
from offline.export.probes import NEEDED_RECALL, find_best
from offline.export.retriever import (
    RetrieverSize,
    build_retriever,
    suit_lists,
)
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.recommender import TrainingData
from offline.recommender.sequential import SequenceRecommender
from offline.stages.data import DataArtifact
from offline.stages.encoding import EncodingArtifact
from offline.stages.evaluation import EvaluationArtifact
from offline.stages.export import ExportArtifact
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.recommender import RecommenderArtifact
from offline.stages.text_encoder import TextEncoderArtifact
from tests.app.model.retrieved import N_ITEMS, SIZE, make_vectors

FILES = (
    "retriever.faiss",
    "retriever_lists.bin",
    "retriever_list_ids.npy",
    "retriever_outliers.npy",
)
Vectors = npt.NDArray[np.float32]
Items = npt.NDArray[np.int64]
CHOSEN = RetrieverSize(n_lists=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retriever")


@pytest.fixture(scope="module")
def info(folder: Path) -> RetrieverInfo:
    return build_retriever(*make_vectors(), folder, CHOSEN)


def test_probes_state_their_recall_and_effort(info: RetrieverInfo) -> None:
    assert (info.n_lists, info.code_bytes, info.n_queries) == (64, SIZE // 2, 64)
    assert [probe.depth for probe in info.probes] == [10, 15, 20, 30, 50, 70, 100, 150, 200, 500]
    assert [probe.depth for probe in info.wide_probes] == [20, 30, 60, 110, 250, 550]
    assert info.n_outliers == N_ITEMS // 50
    for probe in info.probes + info.wide_probes:
        assert NEEDED_RECALL <= probe.recall <= 1
        assert probe.lists <= 64
        assert probe.depth < probe.rescored <= N_ITEMS


@pytest.mark.parametrize("kind", ["probes", "wide_probes"])
def test_the_stated_recall_is_kept(info: RetrieverInfo, folder: Path, kind: str) -> None:
    """Counted again with exact scores, lists and codes from the files."""
    table, users = make_vectors()
    search = Search(folder)
    for probe in getattr(info, kind):
        shares = []
        for user in users:
            best = np.argsort(-(table[1:] @ user), kind="stable") + 1
            wanted = best[: probe.depth]
            if kind == "wide_probes":
                # All that a plain search for the depth returns is excluded but the last ten.
                plain = next((p for p in info.probes if p.depth >= probe.depth), info.probes[-1])
                found = best[np.isin(best, search.candidates(user, plain))]
                wanted = best[~np.isin(best, found[: probe.depth - 10])][:10]
            shares.append(np.isin(wanted, search.candidates(user, probe)).mean())
        assert np.mean(shares) >= probe.recall - 0.005


class Search:
    """The items that the files alone find: codes of the best lists, and the outliers."""

    def __init__(self, folder: Path) -> None:
        table, _ = make_vectors()
        index = faiss.read_index(str(folder / "retriever.faiss"))
        places, self.outliers = np.load(folder / FILES[2]), np.load(folder / FILES[3])
        self.listed = np.setdiff1d(np.arange(1, N_ITEMS + 1), self.outliers)
        self.places = places[self.listed]
        self.centres = index.quantizer.reconstruct_n(0, 64)
        items = table[self.listed]
        lengths = np.linalg.norm(items, axis=1)
        self.list_stds = measure_list_stds(lengths, self.places, self.centres, 64)
        codes = index.pq.compute_codes(items - self.centres[self.places])
        self.decoded = index.pq.decode(codes) + self.centres[self.places]

    def candidates(self, user: Vectors, probe: Probe) -> Items:
        ranked = self.centres @ user + probe.spread_weight * np.linalg.norm(user) * self.list_stds
        near = np.argsort(-ranked)[: probe.lists]
        inside = np.flatnonzero(np.isin(self.places, near))
        order = np.argsort(-(self.decoded[inside] @ user))[: probe.rescored]
        return np.concatenate([self.listed[inside[order]], self.outliers])


def test_outliers_are_farthest_from_their_centres(info: RetrieverInfo, folder: Path) -> None:
    table, _ = make_vectors()
    index = faiss.read_index(str(folder / "retriever.faiss"))
    places, outliers = np.load(folder / FILES[2]), np.load(folder / FILES[3])
    assert outliers.dtype == np.int32
    assert len(outliers) == info.n_outliers == N_ITEMS - index.ntotal
    assert (np.diff(outliers) > 0).all()
    distances = np.linalg.norm(table - index.quantizer.reconstruct_n(0, 64)[places], axis=1)[1:]
    others = np.delete(distances, outliers - 1)
    assert distances[outliers - 1].min() >= others.max()


def test_every_item_is_in_one_list_near_its_centre(info: RetrieverInfo, folder: Path) -> None:
    table, _ = make_vectors()
    index = faiss.read_index(str(folder / "retriever.faiss"))
    centres = index.quantizer.reconstruct_n(0, 64)
    distances = ((table[1:, None] - centres[None]) ** 2).sum(axis=2)
    places, outliers = np.load(folder / FILES[2]), np.load(folder / FILES[3])
    assert places.dtype == np.uint16
    assert places[0] == 0
    chosen = distances[np.arange(N_ITEMS), places[1:]]
    np.testing.assert_allclose(chosen, distances.min(axis=1), rtol=1e-4, atol=1e-4)
    sizes = np.bincount(np.delete(places, outliers)[1:], minlength=64)
    blocks = -(-sizes // 32) * 32
    assert (folder / "retriever_lists.bin").stat().st_size == (blocks * (SIZE // 2 + 8)).sum()


def test_the_same_table_and_seed_give_the_same_files(
    info: RetrieverInfo, folder: Path, tmp_path: Path
) -> None:
    assert build_retriever(*make_vectors(), tmp_path, CHOSEN) == info
    for name in FILES:
        assert hash_file(tmp_path / name) == hash_file(folder / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    build_retriever(*make_vectors(), tmp_path, RetrieverSize(n_lists=64, seed=1))
    assert hash_file(tmp_path / FILES[0]) != hash_file(folder / FILES[0])


def test_the_exact_best_are_found_across_chunks() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=((1 << 17) + 500, 4)).astype(np.float32)
    users = rng.normal(size=(3, 4)).astype(np.float32)
    best = find_best(table, users, 40)
    wanted = np.argsort(-(users @ table[1:].T), axis=1)[:, :40] + 1
    np.testing.assert_array_equal(best, wanted)


@pytest.mark.parametrize(("n_items", "n_lists"), [(1_000, 128), (10**6, 4_096), (10**7, 8_192)])
def test_lists_grow_with_the_root_of_the_catalogue(n_items: int, n_lists: int) -> None:
    assert suit_lists(n_items) == n_lists


def test_a_table_that_cannot_be_indexed_is_rejected(tmp_path: Path) -> None:
    table, users = make_vectors()
    with pytest.raises(InputError, match="at least 1000 items, not 999"):
        build_retriever(table[:1_000], users, tmp_path)
    with pytest.raises(InputError, match="there is none"):
        build_retriever(table, users[:0], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    folder = tmp_path_factory.mktemp("exported")
    rng = np.random.default_rng(0)
    steps = rng.integers(1, 40, (300, 6)).cumsum(axis=1) + rng.integers(0, 1_000, (300, 1))
    histories = [items.astype(np.int32) for items in steps % 1_200 + 1]
    model = SequenceRecommender(
        SasrecConfig(embedding_size=SIZE, max_length=8, layers=1),
        TrainingConfig(epochs=1),
    ).fit(TrainingData(histories, 1_200))
    ids = IdMap([f"item {number}" for number in range(1, 1_201)])
    report = export_model(
        model, ids, histories, folder, n_checked=20, retrieval=RetrievalConfig(exact_up_to=1_100)
    )
    return folder, report


@pytest.mark.slow
def test_a_large_catalogue_is_exported_with_a_retriever(
    exported: tuple[Path, ExportReport],
) -> None:
    folder, report = exported
    stated = RetrieverInfo.model_validate_json((folder / "retriever.json").read_bytes())
    assert report.retriever == stated
    assert stated.n_queries == 300
    for name in FILES:
        assert (folder / name).is_file()


@pytest.mark.slow
def test_the_retriever_goes_into_the_bundle(exported: tuple[Path, ExportReport]) -> None:
    folder, report = exported
    artifact = ExportArtifact(folder, "", {})
    TextArrays.of([], []).save(folder)
    parts = BundleParts(
        DataArtifact(folder, "", {}),
        KnowledgeArtifact(folder, "", {}),
        EncodingArtifact(folder, "", {}),
        TextEncoderArtifact(folder, "", {}),
        RecommenderArtifact(folder, "", {}),
        EvaluationArtifact(folder, "", {}),
        artifact,
    )
    assert artifact.retriever() == report.retriever
    assert {name for name in gather_files(parts) if name.startswith("retriever")} == set(FILES)
    (folder / "retriever.json").unlink()
    assert artifact.retriever() is None
    assert not {name for name in gather_files(parts) if name.startswith("retriever")}
