"""Times of events, against Python's own datetime."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labdock.errors import InvalidOptions
from labdock_search.data import times

MOMENT = 1_600_000_000.0  # 2020-09-13T12:26:40Z


@pytest.mark.parametrize(
    "text",
    [
        "1600000000",
        "1600000000.0",
        "1600000000000",
        "1600000000000000",
        "1600000000000000000",
        "2020-09-13T12:26:40Z",
        "2020-09-13 12:26:40",
        "2020-09-13T12:26:40.000",
        "2020-09-13T14:26:40+02:00",
        "2020-09-13T14:26:40 +0200",
        "2020-09-13 12:26:40,000 UTC",
        "20200913T122640",
        "20200913122640",
        "13/Sep/2020:12:26:40 +0000",
        "09/13/2020 12:26:40 PM",
        "13/09/2020 12:26:40",
        "2020/09/13 12:26:40",
        "Sun, 13 Sep 2020 12:26:40 GMT",
        "Sun Sep 13 12:26:40 2020",
        "Sep 13, 2020 12:26:40 PM",
        "13 Sep 2020 12:26:40",
    ],
)
def test_every_usual_form_is_read(text: str) -> None:
    assert times.parse(text) == MOMENT
    assert times.parse_column(pa.chunked_array([pa.array([text, None])])).to_pylist() == [MOMENT, None]


@pytest.mark.parametrize("text", ["", "x", "12:30", "2020-13-01", "2020-02-30", "nan", "inf", "1e400", "-", "now"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert times.parse(text) is None
    assert times.parse_column(pa.chunked_array([pa.array([text])])).to_pylist() == [None]


def test_the_epoch_itself_is_a_time() -> None:
    assert times.parse("1970-01-01T00:00:00Z") == 0.0
    assert times.parse(0) == 0.0


def test_a_time_without_zone_is_in_the_callers_zone() -> None:
    berlin = times.zone_of("Europe/Berlin")
    assert times.parse("2020-09-13 14:26:40", berlin) == MOMENT
    assert times.parse("2020-01-13 12:26:40", berlin) == dt.datetime(2020, 1, 13, 11, 26, 40, tzinfo=dt.UTC).timestamp()
    assert times.parse("2020-09-13T12:26:40Z", berlin) == MOMENT
    column = pa.chunked_array([pa.array(["2020-09-13 14:26:40"])])
    assert times.parse_column(column, berlin).to_pylist() == [MOMENT]
    assert times.parse("2020-09-13 06:56:40", times.zone_of("-05:30")) == MOMENT


def test_an_unknown_zone_is_refused() -> None:
    for name in ("Nowhere", "../etc/passwd", "", "+2"):
        with pytest.raises(InvalidOptions):
            times.zone_of(name)


def test_a_format_that_was_given_is_the_only_one_tried() -> None:
    assert times.parse("13.09.20 12h26m40", form="%d.%m.%y %Hh%Mm%S") == MOMENT
    assert times.parse("2020-09-13T12:26:40Z", form="%d.%m.%y") is None


def test_a_syslog_time_gets_the_latest_year_that_is_not_ahead() -> None:
    now = dt.datetime.now(dt.UTC)
    yesterday = now - dt.timedelta(days=1)
    soon = now + dt.timedelta(days=40)
    assert times.parse(yesterday.strftime("%b %d %H:%M:%S")) == yesterday.replace(microsecond=0).timestamp()
    found = times.parse(soon.strftime("%b %d %H:%M:%S"))
    assert found is not None
    assert found < now.timestamp()


_FIRST, _LAST = dt.datetime.fromisoformat("1971-01-01"), dt.datetime.fromisoformat("2200-01-01")


@given(st.datetimes(_FIRST, _LAST, timezones=st.just(dt.UTC)))
def test_iso_and_numbers_agree_with_datetime(moment: dt.datetime) -> None:
    expected = moment.timestamp()
    column = pa.chunked_array([pa.array([moment.isoformat().replace("+00:00", "Z")])])
    assert times.parse(moment.isoformat()) == pytest.approx(expected, abs=1e-6)
    assert times.parse_column(column).to_pylist() == pytest.approx([expected], abs=1e-6)
    micro = round(expected * 1e6)
    if micro > 1e14:  # smaller ones are read as milliseconds
        assert times.parse(micro) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2020-09-13T12:26:40Z something", MOMENT),
        ("[2020-09-13 12:26:40,500] ERROR x", MOMENT + 0.5),
        ('1.2.3.4 - - [13/Sep/2020:12:26:40 +0000] "GET / HTTP/1.1" 200', MOMENT),
        ("1600000000 event", MOMENT),
        ("1600000000.25 event", MOMENT + 0.25),
        ("a number 1600000000 inside", None),
        ("nothing", None),
    ],
)
def test_the_time_at_the_beginning_of_a_line(line: str, expected: float | None) -> None:
    assert times.leading(line) == expected
