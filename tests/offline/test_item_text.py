from model_store.attributes import Attribute, ItemAttributes
from model_store.id_map import IdMap
from offline.item_text import item_text, item_texts

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
