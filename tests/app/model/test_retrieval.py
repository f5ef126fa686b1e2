from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.model import retrieval
from app.model.arrays import NO_ITEMS, FloatArray, IndexArray
from app.model.retrieval import Retriever
from model_store.bundle import Bundle
from model_store.errors import BundleError
from tests.app.model.retrieved import N_ITEMS, best_exactly, bundle_with_retriever, make_vectors
from tests.contracts.tree import ROOT
from tests.synthetic_bundle import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_with_retriever(tmp_path_factory.mktemp("retriever"))


@pytest.fixture(scope="module")
def retriever(bundle: Bundle) -> Retriever:
    retriever = Retriever.open(bundle, bundle.item_table)
    assert retriever
    return retriever


@pytest.fixture(scope="module")
def users() -> FloatArray:
    """Noisier than those that the probes were measured on, so somewhat less is found."""
    return make_vectors()[1] + np.random.default_rng(5).normal(size=(64, 16)).astype(np.float32)


def random_items(count: int, seed: int = 0) -> IndexArray:
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(N_ITEMS, count, replace=False) + 1).astype(np.int32)


def recall(
    retriever: Retriever,
    table: FloatArray,
    users: FloatArray,
    k: int,
    excluded: IndexArray = NO_ITEMS,
    allowed: IndexArray | None = None,
    withdrawn: IndexArray = NO_ITEMS,
) -> float:
    """Of the k best; every answer is checked to be permitted, in order, and of full length."""
    shares = []
    for user in users:
        wanted = best_exactly(table, user, k, np.concatenate([excluded, withdrawn]), allowed)
        items, scores = retriever.best(user, k, excluded, allowed, withdrawn)
        assert items.dtype == np.int32
        assert scores.dtype == np.float32
        assert len(items) == len(wanted) == len(set(items.tolist()))
        assert not np.isin(items, excluded).any()
        assert not np.isin(items, withdrawn).any()
        assert items.min(initial=1) > 0
        assert allowed is None or np.isin(items, allowed).all()
        np.testing.assert_allclose(scores, table[items] @ user, rtol=1e-5)
        assert (np.lexsort((items, -scores)) == np.arange(len(items))).all()
        shares.append(np.isin(wanted, items).mean() if len(wanted) else 1.0)
    return float(np.mean(shares))


@pytest.mark.parametrize("k", [1, 10, 100, 2_000])
def test_the_best_are_found(
    retriever: Retriever, bundle: Bundle, users: FloatArray, k: int
) -> None:
    assert recall(retriever, bundle.item_table, users, k) >= 0.98


@pytest.fixture(params=["copied", "grouped"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of some size are copied, or none is."""
    if request.param == "grouped":
        monkeypatch.setattr(retrieval, "MAX_COPIED_BYTES", 0)
        monkeypatch.setattr(retrieval, "GROUPED_SHARE", 0.3)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("count", [0, 1, 5, 60, 900, 1_500, 4_000, N_ITEMS])
def test_the_best_allowed_are_found(
    retriever: Retriever, bundle: Bundle, users: FloatArray, count: int
) -> None:
    retriever = retriever.with_table(bundle.item_table)
    allowed = random_items(count)
    assert recall(retriever, bundle.item_table, users, 10, allowed=allowed) >= 0.97
    assert recall(retriever, bundle.item_table, users, 10, random_items(1_000, 1), allowed) >= 0.97


@pytest.mark.usefixtures("way")
def test_a_filter_that_goes_with_the_lists_is_answered(
    retriever: Retriever, bundle: Bundle, users: FloatArray
) -> None:
    """All allowed items lie in some of the lists, most of which no user is near."""
    retriever = retriever.with_table(bundle.item_table)
    places = bundle.retriever_list_ids
    assert places is not None
    for start in (0, 20, 40):
        lists = np.arange(start, start + 14)
        allowed = np.flatnonzero(np.isin(places[1:], lists)).astype(np.int32) + 1
        assert 1_000 < len(allowed) < 0.3 * N_ITEMS
        assert recall(retriever, bundle.item_table, users, 10, allowed=allowed) >= 0.9


@pytest.mark.usefixtures("way")
def test_a_filter_that_nobody_would_pass_still_gets_k_items(
    retriever: Retriever, bundle: Bundle, users: FloatArray
) -> None:
    """The worst quarter of the catalogue, which the ranking of lists does not favour."""
    retriever = retriever.with_table(bundle.item_table)
    for user in users[:16]:
        order = np.argsort(bundle.item_table[1:] @ user)
        allowed = np.sort(order[:1_500] + 1).astype(np.int32)
        recall(retriever, bundle.item_table, user[None], 10, allowed=allowed)


@pytest.mark.parametrize("count", [1, 50, 1_000, 5_000, N_ITEMS - 5, N_ITEMS])
def test_excluding_the_very_best_leaves_the_next(
    retriever: Retriever, bundle: Bundle, users: FloatArray, count: int
) -> None:
    for user in users[:16]:
        best_first = np.argsort(-(bundle.item_table[1:] @ user)) + 1
        excluded = best_first[:count].astype(np.int32)
        excluded = np.concatenate([excluded[::-1], excluded[:3], np.zeros(2, np.int32)])
        assert recall(retriever, bundle.item_table, user[None], 10, excluded) >= 0.8


@pytest.mark.parametrize("count", [1, 500, N_ITEMS // 2, N_ITEMS - 40, N_ITEMS - 5, N_ITEMS])
def test_the_best_of_what_is_not_withdrawn_are_found(
    retriever: Retriever, bundle: Bundle, users: FloatArray, count: int
) -> None:
    withdrawn, seen = random_items(count, 2), random_items(30, 3)
    assert recall(retriever, bundle.item_table, users, 10, seen, withdrawn=withdrawn) >= 0.97


def test_withdrawing_the_very_best_leaves_the_next(
    retriever: Retriever, bundle: Bundle, users: FloatArray
) -> None:
    for user in users[:16]:
        best_first = np.argsort(-(bundle.item_table[1:] @ user)) + 1
        withdrawn = np.sort(best_first[:2_000]).astype(np.int32)
        assert recall(retriever, bundle.item_table, user[None], 10, withdrawn=withdrawn) >= 0.8


@pytest.mark.parametrize("n_shown", [10, 50, 200, 500])
def test_missed_items_come_when_all_shown_ones_are_excluded(
    retriever: Retriever, bundle: Bundle, users: FloatArray, n_shown: int
) -> None:
    shares = []
    for user in users:
        shown, _ = retriever.best(user, n_shown, NO_ITEMS, None)
        shares.append(recall(retriever, bundle.item_table, user[None], 10, shown))
    assert np.mean(shares) >= 0.97


def test_page_after_page_misses_little(
    retriever: Retriever, bundle: Bundle, users: FloatArray
) -> None:
    for user in users[:16]:
        shown = NO_ITEMS
        for _ in range(30):
            shown = np.concatenate([shown, retriever.best(user, 20, shown, None)[0]])
        wanted = best_exactly(bundle.item_table, user, 600, NO_ITEMS)
        assert len(np.unique(shown)) == 600
        assert np.isin(wanted, shown).mean() >= 0.98


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("k", [1, 30, 1_000])
@pytest.mark.parametrize("n_excluded", [5, 299, 300, 1_200])
def test_exclusions_filters_and_appended_items_go_together(
    retriever: Retriever, bundle: Bundle, users: FloatArray, k: int, n_excluded: int
) -> None:
    fresh = users[:40] / np.linalg.norm(users[:40], axis=1, keepdims=True)
    table = np.concatenate([bundle.item_table, 3 * fresh])
    grown = retriever.with_table(table)
    outliers = bundle.retriever_outliers
    for seed, user in enumerate(users[:6]):
        best_first = np.argsort(-(table[1:] @ user)).astype(np.int32) + 1
        some = np.union1d(random_items(2_500, seed), np.arange(N_ITEMS - 5, len(table)))
        for excluded in (
            best_first[:n_excluded],
            best_first[::2][:n_excluded],
            random_items(n_excluded),
        ):
            for allowed in (None, some.astype(np.int32), np.union1d(random_items(1_200), outliers)):
                assert recall(grown, table, user[None], k, excluded, allowed) >= 0.8


def test_an_index_without_outliers_is_served(
    tmp_path: Path, users: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = np.empty(0, np.int32)
    monkeypatch.setattr("offline.export.retriever._take_outliers", lambda *_: nobody)
    bundle = bundle_with_retriever(tmp_path, wide_probes=())
    files = dict(bundle.manifest.files)
    del files["retriever_outliers.npy"]
    bundle.manifest.model_copy(update={"files": files}).save(bundle.folder / "manifest.json")
    (bundle.folder / "retriever_outliers.npy").unlink()
    bundle = Bundle.open(bundle.folder)
    retriever = Retriever.open(bundle, bundle.item_table)
    assert retriever
    assert recall(retriever, bundle.item_table, users, 10) >= 0.97
    assert recall(retriever, bundle.item_table, users, 10, random_items(1_000)) >= 0.97


@pytest.mark.parametrize("outliers", [[0, 5], [5, N_ITEMS + 1]])
def test_outliers_outside_the_catalogue_are_rejected(tmp_path: Path, outliers: list[int]) -> None:
    bundle = bundle_with_retriever(tmp_path)
    info = bundle.manifest.retriever
    assert info
    changed = info.model_copy(update={"n_outliers": 2})
    np.save(bundle.folder / "retriever_outliers.npy", np.array(outliers, np.int32))
    bundle = Bundle(bundle.folder, bundle.manifest.model_copy(update={"retriever": changed}))
    with pytest.raises(
        BundleError, match=rf"from {outliers[0]} to {outliers[1]}, expected ascending"
    ):
        Retriever.open(bundle, bundle.item_table)


@pytest.mark.usefixtures("way")
def test_appended_items_are_scored_exactly(
    retriever: Retriever, bundle: Bundle, users: FloatArray
) -> None:
    rng = np.random.default_rng(8)
    fresh = 2 * users[rng.integers(0, 64, 1_200)] / np.linalg.norm(users[0])
    table = np.concatenate([bundle.item_table, fresh.astype(np.float32)])
    grown = retriever.with_table(table)
    assert recall(grown, table, users, 20) >= 0.96
    new = np.arange(N_ITEMS + 1, len(table), dtype=np.int32)
    for allowed in (
        new,
        np.concatenate([random_items(1_100), new]),
        np.concatenate([random_items(5_000), new[::2]]),
    ):
        assert recall(grown, table, users, 20, allowed=allowed) >= 0.96
    assert recall(grown, table, users, 20, excluded=new) >= 0.96


@pytest.mark.parametrize("n_twins", [2, 3, 7, 40])
def test_equal_rows_rank_by_item_index(bundle: Bundle, n_twins: int) -> None:
    table = np.array(bundle.item_table)
    twins = random_items(n_twins, seed=n_twins)
    grown = np.concatenate([table, np.repeat(table[twins[:1]] * 9, n_twins, axis=0)])
    opened = Retriever.open(bundle, grown)
    assert opened
    items, scores = opened.best(table[twins[0]], n_twins, NO_ITEMS, None)
    assert items.tolist() == list(range(N_ITEMS + 1, N_ITEMS + 1 + n_twins))
    assert len(np.unique(scores)) == 1


def test_the_golden_requests_decide(
    retriever: Retriever, users: FloatArray, bundle: Bundle
) -> None:
    seen = [random_items(30, seed) for seed in range(len(users))]
    wanted = [
        best_exactly(bundle.item_table, user, 10, excluded)
        for user, excluded in zip(users, seen, strict=True)
    ]
    assert retriever.verify(users, wanted, seen) >= 0.98
    with pytest.raises(BundleError, match=r"finds 0\.\d+ of the golden requests' items, 0.95 are"):
        retriever.verify(users, wanted[::-1], seen)


def test_without_a_retriever_in_the_manifest_there_is_none(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain")
    assert plain.manifest.retriever is None
    assert Retriever.open(plain, plain.item_table) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"n_lists": 65}, "centres 64, expected 65"), ({"code_bytes": 16}, "code 8, expected 16")],
)
def test_an_index_that_does_not_fit_the_manifest_is_rejected(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    bundle = bundle_with_retriever(tmp_path, **changes)
    with pytest.raises(BundleError, match=words):
        Retriever.open(bundle, bundle.item_table)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("retriever.faiss", b"no index", "not a readable index"),
        ("retriever_lists.bin", b"short", "5 bytes, the lists of its items take"),
    ],
)
def test_a_damaged_index_is_rejected(
    bundle: Bundle, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(bundle.folder, folder)
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        Bundle.open(folder)
    with pytest.raises(BundleError, match=words):
        Retriever.open(Bundle(folder, bundle.manifest), bundle.item_table)


def test_a_manifest_that_lacks_the_files_is_rejected(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "lacking"
    shutil.copytree(bundle.folder, folder)
    files = dict(bundle.manifest.files)
    del files["retriever_lists.bin"]
    bundle.manifest.model_copy(update={"files": files}).save(folder / "manifest.json")
    with pytest.raises(BundleError, match=r"retriever_lists\.bin is not in the manifest"):
        Bundle.open(folder)


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="needs Linux's smaps")
def test_processes_share_the_lists(bundle: Bundle) -> None:
    """None of the pages of lists is a process's own, in any of them."""
    script = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from app.model.retrieval import Retriever\n"
        "from model_store.bundle import Bundle\n"
        "bundle = Bundle.open(Path(sys.argv[1]))\n"
        "retriever = Retriever.open(bundle, bundle.item_table)\n"
        "for user in np.random.default_rng(0).normal(size=(50, 16)).astype('f4'):\n"
        "    retriever.best(user, 10, np.zeros(0, np.int32), None)\n"
        "fields, inside = {}, False\n"
        "for line in Path('/proc/self/smaps').read_text().splitlines():\n"
        "    if '-' in line.split()[0]: inside = line.endswith('retriever_lists.bin')\n"
        "    elif inside and line.endswith('kB'):\n"
        "        name, size, _ = line.split()\n"
        "        fields[name] = fields.get(name, 0) + int(size)\n"
        "print(fields['Rss:'], fields['Private_Dirty:'], fields['Anonymous:'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(bundle.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    resident, dirty, anonymous = map(int, done.stdout.split())
    assert resident > 50
    assert (dirty, anonymous) == (0, 0)
