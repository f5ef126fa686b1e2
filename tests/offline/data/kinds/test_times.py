"""Times as files have them: the column's content settles how they are read."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.data.kinds.times import AmbiguousDatesError, read_times

NOW_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
MORNING_S = datetime(2019, 10, 13, 9, 30, 5, tzinfo=UTC).timestamp()
MIDNIGHT_S = datetime(2019, 10, 13, tzinfo=UTC).timestamp()


def seconds(*texts, **options):
    values = pl.Series(texts, dtype=pl.String)
    return [None if np.isnan(s) else s for s in read_times(values, now_s=NOW_S, **options).seconds]


@pytest.mark.parametrize(
    "text",
    [
        "2019-10-13 09:30:05",
        " 2019-10-13T09:30:05 ",
        "2019-10-13T09:30:05Z",
        "2019-10-13 09:30:05 UTC",
        "2019-10-13 09:30:05.000 GMT",
        "2019-10-13T11:30:05+02:00",
        "2019-10-13 11:30:05+02",
        "2019-10-13 11:30:05 CEST",
        "2019-10-13T11:30:05+02:00[Europe/Berlin]",
        "2019-10-13 11:30:05 Europe/Berlin",
        "2019-10-13 05:30:05 America/New_York",
        "2019-10-13-09.30.05.000000",
        "2019/10/13 09:30:05",
        "2019.10.13 9:30:05",
        "13.10.2019 09:30:05",
        "13/10/2019, 9:30:05 am",
        "10/13/2019 9:30:05 AM",
        "13-10-19 09:30:05",
        "09:30:05 13.10.2019",
        "Sun 13 Oct 2019 09:30:05 GMT",
        "Sun, 13 Oct 2019 09:30:05 +0000",
        "Sun Oct 13 09:30:05 UTC 2019",
        "Sun Oct 13 2019 11:30:05 GMT+0200 (Central European Summer Time)",
        "Sunday, October 13th, 2019 at 9:30:05 AM",
        "13 October 2019 09:30:05",
        "13. Okt. 2019 9:30:05",
        "13/Oct/2019:09:30:05 +0000",
        "2019-Oct-13 09:30:05",
        "20191013T093005Z",
        "20191013 093005",
        "20191013093005",
        "1570959005",
        "1570959005.0",
        "1.570959005e9",
        "1570959005000",
        "1570959005000000",
        "1570959005000000000",
        "43751.395891203705",
    ],
)
def test_one_moment_in_many_layouts(text):
    [read] = seconds(text)
    assert read == pytest.approx(MORNING_S, abs=0.001)


@pytest.mark.parametrize(
    "text",
    [
        # Other languages and scripts.
        "13.10.2019, 09:30:05 Uhr",
        "So., 13. Okt. 2019 09:30:05",
        "dimanche 13 octobre 2019 à 09:30:05",
        "13 de outubro de 2019 09:30:05",
        "13 ottobre 2019 09:30:05",
        "13 окт. 2019 09:30:05",
        "2019年10月13日 09時30分05秒",
        "٢٠١٩-١٠-١٣ ٠٩:٣٠:٠٥",
        "２０１９-１０-１３ ０９：３０：０５",
        # What a program or an editor puts around or into a time.
        "'2019-10-13 09:30:05",
        '="2019-10-13 09:30:05"',
        "[13/Oct/2019:09:30:05 +0000]",
        'ISODate("2019-10-13T09:30:05Z")',
        '{"$date": "2019-10-13T09:30:05Z"}',
        "Timestamp('2019-10-13 09:30:05')",
        "/Date(1570959005000+0200)/",
        "\ufeff2019-10-13 09:30:05",
        "\u200e10/13/2019 09:30:05\u200e",
        "10/13/2019, 9:30:05\u202fAM",
        "2019-10-13\u00a009:30:05",
        "2019–10–13 09:30:05",
        "2019-10-13 04:30:05 −05:00",
        "2019-10-13;09:30:05",
        "2019:10:13 09:30:05",
        "2019-10-13-09-30-05",
        "2019_10_13_09_30_05",
        "Sun Oct 13 11:30:05 2019 +0200",
        "2019-10-13 19:30:05 AEST",
        # Counts in spellings of their own.
        '"1570959005"',
        "@1570959005",
        "1570959005s",
        "1570959005,0",
        "1,570959005E+09",
        "1,570,959,005",
        "43751,395891203705",
        "20191013093005.0",
    ],
)
def test_one_moment_in_other_spellings(text):
    [read] = seconds(text)
    assert read == pytest.approx(MORNING_S, abs=0.001)


def test_spellings_among_others_are_read_and_both_are_said():
    values = ["2019-10-13 09:30:05"] * 3 + ["'2019-10-13 09:30:05'", "never", "NULL", "Oct 2019"]
    times = read_times(pl.Series(values), now_s=NOW_S)
    np.testing.assert_equal(times.seconds, [MORNING_S] * 4 + [np.nan] * 3)
    assert times.detail == "YYYY-MM-DD HH:MM:SS, taken as UTC"


def test_a_year_of_two_digits_may_stand_first():
    days = [datetime(2019, 10, day, tzinfo=UTC).timestamp() for day in (31, 1)]
    assert seconds("19-10-31", "19-10-01") == days
    assert seconds("31-10-19", "01-10-19") == days
    assert seconds("10/31/19", "10/01/19") == days
    assert read_times(pl.Series(["19/10/31"]), now_s=NOW_S).detail == "YY/MM/DD, taken as UTC"


def test_digits_may_end_with_the_hour_or_a_fraction():
    assert seconds("2019101309", "2019101310") == [MIDNIGHT_S + 9 * 3600, MIDNIGHT_S + 10 * 3600]
    assert seconds("20191013093005.25") == [MORNING_S + 0.25]


@pytest.mark.parametrize(
    "text", ["2019-10-13", "20191013", "13.10.2019", "43751", "18182", "2019-10-13 24:00"]
)
def test_one_day_in_many_layouts(text):
    assert seconds(text) == [MIDNIGHT_S + (86_400 if "24:00" in text else 0)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2019-02-30",
        "2019-13-01",
        "2019-10-13 25:00",
        "09:30",
        "13:00 PM 1 Oct 2019",
        "2019-10-13 09:30 Mars/Base",
        "inf",
    ],
)
def test_what_is_no_time_is_none(text):
    assert seconds(text, "2019-10-13") == [None, MIDNIGHT_S]


def test_the_column_settles_day_and_month():
    assert seconds("01/10/2019", "13/10/2019")[1] == MIDNIGHT_S
    assert seconds("10/01/2019", "10/13/2019")[1] == MIDNIGHT_S
    assert seconds("05/05/2019") == [datetime(2019, 5, 5, tzinfo=UTC).timestamp()]
    october, january = datetime(2019, 10, 1, tzinfo=UTC), datetime(2019, 1, 10, tzinfo=UTC)
    assert seconds("01/10/2019", day_first=True) == [october.timestamp()]
    assert seconds("01/10/2019", day_first=False) == [january.timestamp()]
    with pytest.raises(AmbiguousDatesError, match="'01/10/2019' can be 1 October or 10 January"):
        seconds("05/05/2019", "01/10/2019")


def test_dots_are_day_first_and_this_is_said():
    times = read_times(pl.Series(["01.10.2019 09:00"]), now_s=NOW_S)
    assert times.seconds.tolist() == [datetime(2019, 10, 1, 9, tzinfo=UTC).timestamp()]
    assert times.warning == (
        "'01.10.2019 09:00' is taken as 1 October, as is usual with dots, not 10 January"
    )


def test_a_column_of_numbers_has_one_unit():
    assert seconds("1570959005000", "170") == [MORNING_S, 170.0]
    assert seconds("1570959005", "170") == [MORNING_S, 170.0]
    assert seconds("20191013093005", "20191013093006", "2019101309")[2] is None
    # A counter is in no unit, and stays as it is.
    for n_rows in (10, 20_000, 46_000):
        assert seconds(*map(str, range(n_rows)))[-2:] == [n_rows - 2, n_rows - 1]


def test_several_layouts_in_one_column_are_each_read():
    read = seconds("2019-10-13 9:30:05", "2019-10-13 09:30:05", None, "1570959005", "13 Oct 2019")
    assert read == [MORNING_S, MORNING_S, None, MORNING_S, MIDNIGHT_S]


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        (["2019-10-13 09:30:05 UTC"], "YYYY-MM-DD HH:MM:SS UTC"),
        (["2019-10-13T09:30:05+02:00"], "YYYY-MM-DDTHH:MM:SS+HH:MM"),
        (["13.10.2019 09:30"], "DD.MM.YYYY HH:MM, taken as UTC"),
        (["10/13/2019"], "MM/DD/YYYY, taken as UTC"),
        (["1570959005"], "seconds since 1970"),
        (["1570959005000"], "milliseconds since 1970"),
        (["20191013"], "YYYYMMDD as digits, taken as UTC"),
        (["20191013093005"], "YYYYMMDDHHMMSS as digits, taken as UTC"),
        ([43751], "days since 1900 as spreadsheets count them, taken as UTC"),
        ([18182], "days since 1970, taken as UTC"),
        ([date(2019, 10, 13)], "dates without times of day, taken as UTC"),
        ([datetime(2019, 10, 13, tzinfo=UTC)], "dates and times, UTC"),
    ],
)
def test_details_are_for_people(values, detail):
    assert read_times(pl.Series(values), now_s=NOW_S).detail == detail


def test_typed_columns():
    two_hours = timezone(timedelta(hours=2))
    for values in (
        pl.Series([1570959005]),
        pl.Series([1570959005_000]),
        pl.Series([1570959005.0]),
        pl.Series([Decimal(1570959005)]),
        pl.Series(["2019-10-13 09:30:05"], dtype=pl.Categorical),
        pl.Series([datetime(2019, 10, 13, 9, 30, 5)]),
        pl.Series([datetime(2019, 10, 13, 9, 30, 5)], dtype=pl.Datetime("ns")),
        pl.Series([datetime(2019, 10, 13, 11, 30, 5, tzinfo=two_hours)]),
    ):
        assert read_times(values, now_s=NOW_S).seconds.tolist() == [MORNING_S], values.dtype
    typed = read_times(pl.Series([date(1970, 1, 2), None])).seconds
    np.testing.assert_equal(typed, [86_400, np.nan])
    np.testing.assert_equal(
        read_times(pl.Series([float("nan"), None, 3.0])).seconds, [np.nan, np.nan, 3]
    )
    assert len(read_times(pl.Series([], dtype=pl.String)).seconds) == 0


FORMATS = ("%Y-%m-%d %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT", "%Y%m%d%H%M%S", "%d %B %Y %I:%M:%S %p")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.datetimes(datetime(1981, 1, 1), datetime(2025, 12, 31)), min_size=1, max_size=9),
    st.sampled_from(FORMATS),
)
def test_times_are_read_back_as_python_writes_them(moments, layout):
    moments = [moment.replace(microsecond=0) for moment in moments]
    expected = [moment.replace(tzinfo=UTC).timestamp() for moment in moments]
    assert seconds(*(moment.strftime(layout) for moment in moments)) == expected
