"""Flags of commands that run stages on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add the data set's files, its kind of item, and the folder of the stages."""
    parser.add_argument(
        "--interactions",
        required=True,
        metavar="FILE",
        help="CSV, Parquet, a MovieLens or RecBole file or folder; or movielens-100k, fetched",
    )
    parser.add_argument("--items", metavar="FILE", help="the catalogue; in a folder it is found")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="folder of the stages"
    )
    parser.add_argument(
        "--item-kind",
        metavar="WORD",
        help="kind of item, for the language model: film, product (item)",
    )
