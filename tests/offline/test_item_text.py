import pytest

from model_store.attributes import Attribute, ItemAttributes
from model_store.errors import ConfigError
from model_store.id_map import IdMap
from offline.data.kinds.texts import words_of
from offline.item_text import check_text_columns, item_text, item_texts

ATTRIBUTES = ItemAttributes(
    [
        Attribute("year", "number", [1995, None, 1999.5]),
        Attribute("title", "text", ["Toy Story", None, " \n "]),
        Attribute("genres", "list", [["Animation", "Children's"], [], None]),
        Attribute("short_plot", "text", ["A boy\nand his\ttoys", None, None]),
    ],
    n_items=3,
)


def test_the_title_is_first_and_the_others_keep_their_order():
    assert item_text(ATTRIBUTES, 1, "1") == (
        "Title: Toy Story\nYear: 1995\nGenres: Animation, Children's\n"
        "Short plot: A boy and his toys"
    )


def test_an_item_without_a_title_is_called_by_its_id():
    assert item_text(ATTRIBUTES, 2, "B00X") == "Title: B00X"
    assert item_text(ATTRIBUTES, 3, "B00Y") == "Title: B00Y\nYear: 1999.5"


def test_texts_are_aligned_with_the_id_map():
    texts = item_texts(ATTRIBUTES, IdMap(["a", "b", "c"]))
    assert texts == [item_text(ATTRIBUTES, n, i) for n, i in enumerate("abc", start=1)]
    assert item_texts(ItemAttributes([], n_items=1), IdMap(["é 1"])) == ["Title: é 1"]


SHOP = ItemAttributes(
    [
        Attribute("title", "text", ["Mug&nbsp;<b>Blue</b>"]),
        Attribute("description", "text", ["<p>Holds tea &amp; more.</p><script>track(1)</script>"]),
        Attribute("image", "text", ["https://shop.example/mug.png?a=1"]),
        Attribute("images", "list", [["https://shop.example/1.png", "www.shop.example/2.png"]]),
        Attribute("in_stock", "boolean", [True]),
        Attribute("price", "number", [9.99]),
        Attribute("created", "text", ["2019-10-01 09:00:00 UTC"]),
        Attribute("sku", "text", ["0002134"]),
        Attribute("tags", "list", [["kitchen", "2019-10-01", "", "<i>gift</i>"]]),
        Attribute("made_in_year", "number", [2019]),
    ],
    n_items=1,
)


def test_only_words_of_a_shops_columns_stay():
    assert item_text(SHOP, 1, "1") == (
        "Title: Mug Blue\nDescription: Holds tea & more.\nTags: kitchen, gift\nMade in year: 2019"
    )


def test_a_recipe_can_name_the_columns():
    assert item_text(SHOP, 1, "1", ["price", "sku", "in_stock"]) == (
        "Title: Mug Blue\nPrice: 9.99\nSku: 0002134\nIn stock: yes"
    )
    assert item_text(SHOP, 1, "1", []) == "Title: Mug Blue"
    check_text_columns(SHOP, ["price"])
    with pytest.raises(ConfigError, match=r"text_columns: 'weight' is none .* \(title, desc"):
        check_text_columns(SHOP, ["weight"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a < b and c > d", "a < b and c > d"),
        ("I <3 you", "I <3 you"),
        ("R&D", "R&D"),
        ("caf&eacute;&#33;", "café!"),
        ("one<br>two", "one two"),
        ("<style>p {}</style>text<!-- no -->", "text"),
        ("see https://x.org/a?b=c now", "see now"),
        ("<a href='x'>link", "link"),
        ("<p", "<p"),
    ],
)
def test_words_of_markup(text, words):
    assert words_of(text) == words


def test_titles_that_are_numbers_stay():
    attributes = ItemAttributes([Attribute("title", "text", ["1984"])], n_items=1)
    assert item_text(attributes, 1, "1") == "Title: 1984"
