"""A tiny but real bundle of kind rating, made without torch: 3 + user row · item row, clipped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter
from model_store.files import save_array
from model_store.held_out import HELD_OUT_FILES, HeldOutRatings
from model_store.manifest import RatingModelInfo
from tests.synthetic_bundle import Catalogue, make_catalogue, write_users

SIZE, SCALE = 4, (1.0, 5.0)
Floats = npt.NDArray[np.float32]


class SyntheticRatings:
    """The tables of a bundle, for tests to compute expected answers from."""

    def __init__(self, made: Catalogue) -> None:
        self.made = made
        random = np.random.default_rng(5)
        n_users, n_items = len(made.histories), len(made.ids)
        self.users, self.items, self.rated = (
            random.normal(size=(n + 1, size)).astype(np.float32)
            for n, size in ((n_users, SIZE), (n_items, SIZE), (n_items, SIZE // 2))
        )
        self.user_means, self.item_means = (
            random.uniform(2, 4, n + 1).astype(np.float32) for n in (n_users, n_items)
        )
        for rows in (self.users, self.items, self.rated):
            rows[0] = 0

    def predictions(self, row: Floats) -> Floats:
        """Of all items, not clipped: [N+1]."""
        answer: Floats = 3 + self.items @ row
        return answer

    def row_of(self, user_id: str) -> Floats:
        """Of a known user."""
        row: Floats = self.users[1 + list(self.made.histories).index(user_id)]
        return row

    def folded(self, history: list[int]) -> Floats:
        """Of a user who is known by item_indices alone."""
        return np.concatenate([np.zeros(SIZE // 2), self.rated[history].mean(axis=0)]).astype(
            np.float32
        )


def make_rating_bundle(
    folder: Path,
    *,
    version: str = "rated-1",
    catalogue: Catalogue | None = None,
    max_ranked: int = 1_000,
    wrong_golden: bool = False,
    held_out: HeldOutRatings | None = None,
    report: Mapping[str, Any] | None = None,
) -> Bundle:
    """Write the bundle into `folder` (not there yet)."""
    made = catalogue or make_catalogue()
    ratings = SyntheticRatings(made)
    with BundleWriter(folder) as writer:
        writer.write("model.onnx", lambda path: onnx.save(_graph(), path))
        for name, array in (
            ("item_table", ratings.items),
            ("user_table", ratings.users),
            ("rated_table", ratings.rated),
            ("user_means", ratings.user_means),
            ("item_means", ratings.item_means),
            ("popularity", made.popularity),
        ):
            writer.write(f"{name}.npy", lambda path, array=array: save_array(path, array))
        writer.write("item_ids.json", made.ids.save)
        writer.write("attributes.json", made.attributes.save)
        answers = ratings.predictions(ratings.row_of("u1")).clip(*SCALE)[1:4]
        golden = {
            "user_id": "u1",
            "item_ids": list(made.ids.ids[:3]),
            "ratings": [float(answer) + wrong_golden for answer in answers],
        }
        writer.write("golden.json", lambda path: path.write_text(json.dumps([golden])))
        writer.write("report.json", lambda path: path.write_text(json.dumps(report or {})))
        if held_out is not None:
            arrays = (held_out.users, held_out.items, held_out.values)
            for name, array in zip(HELD_OUT_FILES, arrays, strict=True):
                writer.write(name, lambda path, array=array: save_array(path, array))
        write_users(writer, made)
        return writer.finish(
            version=version,
            kind="rating",
            created_at="2026-01-01T00:00:00Z",
            model=RatingModelInfo.of_rating_graph(
                "made", SIZE, SIZE, SCALE, max_length=50, max_ranked=max_ranked
            ),
            encoder=None,
            n_items=len(made.ids),
            n_users=len(made.histories),
            metrics={"rmse": 0.9},
            inputs={},
            configuration={},
            code_revision="made",
        )


def _graph() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Transpose", ["user"], ["column"], perm=[1, 0]),
        helper.make_node("MatMul", ["items", "column"], ["products"]),
        helper.make_node("Reshape", ["products", "flat"], ["sums"]),
        helper.make_node("Add", ["sums", "mean"], ["ratings"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([-1], np.int64), "flat"),
        numpy_helper.from_array(np.array(3, np.float32), "mean"),
    ]
    graph = helper.make_graph(
        nodes,
        "ratings",
        [
            helper.make_tensor_value_info("user", TensorProto.FLOAT, [1, SIZE]),
            helper.make_tensor_value_info("items", TensorProto.FLOAT, ["M", SIZE]),
        ],
        [helper.make_tensor_value_info("ratings", TensorProto.FLOAT, ["M"])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
