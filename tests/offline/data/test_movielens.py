"""MovieLens in all its forms, and RecBole's, give the same films and histories."""

from pathlib import Path

import pytest

from model_store.errors import InputError
from offline.data.dataset import Dataset, read_dataset
from offline.data.issues import IssueKind
from offline.data.movielens import GENRES_100K

FILMS = [
    ("1", "Toy Story", 1995, ["Animation", "Children's", "Comedy"]),
    ("2", "Matrix, The", 1999, ["Action"]),
    ("3", "Amélie (Le Fabuleux Destin)", 2001, ["Comedy", "Romance"]),
    ("4", "unknown", None, None),
]
T = 978300000  # in December 2000
RATINGS = [
    *(("9", "3", 4, T + 200), ("9", "1", 5, T + 100)),
    *(("8", "2", 3, T + 50), ("9", "2", 1, T + 200)),
]


def titled(title: str, year: int | None) -> str:
    return title if year is None else f"{title} ({year})"


def ml_1m(folder: Path) -> None:
    movies = [f"{i}::{titled(t, y)}::{'|'.join(g or [])}\n" for i, t, y, g in FILMS]
    (folder / "movies.dat").write_text("".join(movies), encoding="latin-1")
    ratings = "".join("::".join(map(str, row)) + "\n" for row in RATINGS)
    (folder / "ratings.dat").write_text(ratings)


def ml_100k(folder: Path) -> None:
    movies = [
        "|".join(
            [
                i,
                titled(t, y),
                "01-Jan-1995",
                "",
                "http://x",
                *(str(int(n in (g or []))) for n in GENRES_100K),
            ]
        )
        for i, t, y, g in FILMS
    ]
    (folder / "u.item").write_text("\n".join(movies) + "\n", encoding="latin-1")
    genres = "".join(f"{name}|{number}\n" for number, name in enumerate(GENRES_100K))
    (folder / "u.genre").write_text(genres + "\n")
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in RATINGS))


def ml_latest(folder: Path) -> None:
    movies = [
        f'{i},"{titled(t, y)}",{"|".join(g) if g else "(no genres listed)"}\n'
        for i, t, y, g in FILMS
    ]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(movies), encoding="utf-8")
    ratings = "".join(",".join(map(str, row)) + "\n" for row in RATINGS)
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + ratings)
    (folder / "links.csv").write_text("movieId,imdbId\n1,2\n")


def recbole(folder: Path) -> None:
    movies = [f"{i}\t{t}\t{y or ''}\t{' '.join(g or [])}\n" for i, t, y, g in FILMS]
    (folder / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        + "".join(movies),
        encoding="utf-8",
    )
    (folder / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        + "".join("\t".join(map(str, row)) + "\n" for row in RATINGS)
    )
    (folder / "ml-100k.user").write_text("user_id:token\n9\n8\n")


def films(dataset: Dataset) -> list[tuple[object, ...]]:
    ids = dataset.interactions.item_ids.ids
    return [(i, *dataset.attributes.row(n).values()) for n, i in enumerate(ids, start=1)]


@pytest.mark.parametrize("write", [ml_1m, ml_100k, ml_latest, recbole])
def test_all_forms_read_alike(tmp_path, write):
    write(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.attributes.names == ("title", "year", "genres")
    expected = [(i, t, y, g or []) for i, t, y, g in FILMS]
    assert [(*film[:3], film[3] or []) for film in films(dataset)] == expected
    interactions = dataset.interactions
    assert interactions.user_ids == ["9", "8"]
    assert interactions.history(0).tolist() == [1, 3, 2]
    assert interactions.history(1).tolist() == [2]
    assert interactions.timestamps.tolist() == [T + 100, T + 200, T + 200, T + 50]
    assert interactions.ratings is not None
    assert interactions.ratings.tolist() == [5, 4, 1, 3]
    assert [issue.kind for issue in dataset.issues] == [IssueKind.TIED]
    assert dataset.issues.count(IssueKind.TIED) == 2


@pytest.mark.parametrize(
    ("write", "interactions", "items"),
    [
        (ml_1m, "ratings.dat", "movies.dat"),
        (ml_100k, "u.data", "u.item"),
        (ml_latest, "ratings.csv", "movies.csv"),
        (recbole, "ml-100k.inter", "ml-100k.item"),
    ],
)
def test_files_may_be_named_one_by_one(tmp_path, write, interactions, items):
    write(tmp_path)
    dataset = read_dataset(tmp_path / interactions, tmp_path / items)
    assert len(films(dataset)) == 4
    alone = read_dataset(tmp_path / interactions)
    assert alone.attributes.names == ()
    assert alone.interactions.item_ids.ids == ("3", "1", "2")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Land Before Time III (1995) (V)", ("Land Before Time III", 1995)),
        ("Series (2006–2007)", ("Series", 2006)),
        ("Still Running (2010– )", ("Still Running (2010– )", None)),
        ("2001: A Space Odyssey (1968) ", ("2001: A Space Odyssey", 1968)),
        ("1984", ("1984", None)),
        ("(500) Days of Summer (2009)", ("(500) Days of Summer", 2009)),
    ],
)
def test_years_in_titles(tmp_path, title, expected):
    (tmp_path / "movies.dat").write_text(f"1::{title}::Drama\n2::Other (1999)::Drama\n", "utf-8")
    (tmp_path / "ratings.dat").write_text("9::1::5::100\n")
    row = read_dataset(tmp_path).attributes.row(1)
    assert (row["title"], row["year"]) == expected


def test_a_table_with_a_year_column_keeps_its_titles(tmp_path):
    (tmp_path / "movies.csv").write_text("movieId,title,year\n1,Blade Runner (2049),2017\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n9,1,5,100\n")
    assert read_dataset(tmp_path).attributes.row(1) == {
        "title": "Blade Runner (2049)",
        "year": 2017,
    }


def test_dat_files_name_their_bad_lines(tmp_path):
    ml_1m(tmp_path)
    with (tmp_path / "ratings.dat").open("a") as file:
        file.write("9::1::5\n9::1::5::never\n")
    lines = read_dataset(tmp_path).issues.lines()
    assert "(line 5: 3 fields instead of 4)" in lines[0]
    assert "(line 6: 'never')" in lines[1]


def test_recbole_types_become_kinds(tmp_path):
    (tmp_path / "shop.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nu\t1\t1\n")
    (tmp_path / "shop.item").write_text(
        "item_id:token\tbrand:token\tprice:float\ttags:token_seq\tproduct_title:token_seq\n"
        '1\tAcme\t9.5\ta b\tA "good" hammer\n2\t\t\t\t\n'
    )
    dataset = read_dataset(tmp_path)
    assert dataset.attributes.row(1) == {
        "brand": "Acme",
        "price": 9.5,
        "tags": ["a", "b"],
        "title": 'A "good" hammer',
    }
    assert set(dataset.attributes.row(2).values()) == {None}


def test_recbole_items_may_have_no_titles(tmp_path):
    (tmp_path / "shop.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nu\t1\t1\n")
    (tmp_path / "shop.item").write_text("item_id:token\tbrand:token\n1\tAcme\n")
    assert read_dataset(tmp_path).attributes.names == ("brand",)


def test_the_whole_goes_before_the_parts_of_a_recbole_folder(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    (folder / "shop.inter").write_text(header + "u\t1\t1\nu\t2\t2\n")
    (folder / "shop.part1.inter").write_text(header + "u\t1\t1\n")
    assert len(read_dataset(folder).interactions) == 2
    (folder / "shop.inter").rename(folder / "shop.part2.inter")
    with pytest.raises(InputError, match=r"both shop\.part1\.inter and shop\.part2\.inter"):
        read_dataset(folder)


@pytest.mark.parametrize("header", ["user_id\titem_id\ttimestamp", "user_id:id\titem_id:token"])
def test_a_recbole_header_without_types_is_rejected(tmp_path, header):
    (tmp_path / "x.inter").write_text(header + "\n")
    with pytest.raises(
        InputError, match=r"x\.inter: the header names 'user_id.*expected name:type"
    ):
        read_dataset(tmp_path / "x.inter")
