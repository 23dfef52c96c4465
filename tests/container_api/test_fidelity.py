"""Every value comes back as it was sent, through pandas inside the module, over Arrow and over CSV."""

import csv
import io
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ECHO = """
    def init(df, param): return 0
    def fit(model, df, param): pass
    def apply(model, df, param): return df
"""


@pytest.fixture(scope="module")
def echo(start_api):
    api = start_api(LABDOCK_WORKERS="1")
    api.module("echo", ECHO)
    assert api.frame("fit", pa.table({"x": [1]}), algo="echo", model="echo").status == 200
    return api


TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.sampled_from(
        ["", "007", "-0", "1e5", "nan", "NULL", "None", 'a"b', "a,b", "a\nb", "a\r\nb", " lead", "True", "🜁"]
    ),
)
NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
        str.strip
    ),
    min_size=1,
    max_size=4,
    unique=True,
)
ZONES = st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York", "+05:30"])


def columns(rows):
    """An Arrow column of `rows` values, nulls among them."""
    floats = st.floats(allow_nan=True, allow_infinity=True)
    kinds = [
        (pa.float64(), floats),
        (pa.float32(), st.floats(width=32)),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.int8(), st.integers(-128, 127)),
        (pa.bool_(), st.booleans()),
        (pa.string(), TEXT),
        (pa.large_string(), TEXT),
        (pa.binary(), st.binary(max_size=8)),
        (pa.date32(), st.dates(date(1700, 1, 1), date(2200, 1, 1))),
        (pa.duration("ns"), st.integers(-(2**62), 2**62)),
    ]
    plain = [
        st.lists(st.none() | values, min_size=rows, max_size=rows).map(lambda v, k=kind: pa.array(v, k))
        for kind, values in kinds
    ]
    times = st.builds(
        lambda values, zone, unit: pa.array(values, pa.int64()).cast(pa.timestamp(unit, zone)),
        st.lists(st.none() | st.integers(-(2**61), 2**61), min_size=rows, max_size=rows),
        ZONES,
        st.just("ns"),
    )
    coarse = st.builds(
        lambda values, zone, unit: pa.array(values, pa.int64()).cast(pa.timestamp(unit, zone)),
        st.lists(st.none() | st.integers(-(10**9), 4 * 10**9), min_size=rows, max_size=rows),
        ZONES,
        st.sampled_from(["s", "ms", "us"]),
    )
    coded = st.lists(st.none() | TEXT, min_size=rows, max_size=rows).map(
        lambda v: pa.array(v, pa.string()).dictionary_encode()
    )
    return st.one_of(*plain, times, coarse, coded, st.just(pa.nulls(rows)))


@st.composite
def tables(draw):
    names = draw(NAMES)
    rows = draw(st.integers(0, 12))
    return pa.table({name: draw(columns(rows)) for name in names})


def plain(column):
    """Values that compare exactly: NaN equals NaN, -0.0 is not 0.0, a moment is its nanoseconds."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_timestamp(kind):
        factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[kind.unit]
        return [None if v is None else v * factor for v in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_duration(kind):
        column = column.cast(pa.int64())
    values = column.to_pylist()
    if pa.types.is_floating(kind):
        return [None if v is None else "nan" if math.isnan(v) else (v, math.copysign(1, v)) for v in values]
    return values


def kind_of(kind):
    if pa.types.is_dictionary(kind):
        return "categorical", kind_of(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_timestamp(kind):
        return "time", kind.tz
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "binary"
    return str(kind)


SLOW = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@SLOW
@given(table=tables())
@example(table=pa.table({"i": pa.array([2**53 + 1, None, -(2**63)])}))
@example(table=pa.table({"f": pa.array([float("nan"), None, float("-inf"), -0.0])}))
@example(table=pa.table({"b": pa.array([True, None, False])}))
@example(table=pa.table({"t": pa.array([1, None, 2**60 + 1]).cast(pa.timestamp("ns", "Europe/Berlin"))}))
@example(table=pa.table({"s": pa.array(["007", None, "", 'a"b,\n', "🜁"])}))
@example(table=pa.table({"c": pa.array(["x", None, "x"]).dictionary_encode(), "d": pa.array([1, 2, 2])}))
def test_arrow(echo, table):
    reply = echo.frame("apply", table, model="echo", features=table.column_names)
    assert reply.status == 200, reply.body
    answer = reply.table
    assert answer.column_names == table.column_names
    for name in table.column_names:
        sent, got = table.column(name), answer.column(name)
        assert plain(got) == plain(sent), (name, sent.type, got.type)
        if sent.null_count < len(sent):
            assert kind_of(got.type) == kind_of(sent.type), name


@SLOW
@given(table=tables())
def test_what_is_staged_as_arrow(echo, table):
    reply = echo.frame("stage", table, model="staged", features=table.column_names)
    assert reply.status == 200, reply.body
    staged = pyarrow.ipc.open_file(echo.notebooks / "data" / "staged.arrow").read_all()
    for name in table.column_names:
        assert staged.schema.field(name).type == table.schema.field(name).type
        assert plain(staged.column(name)) == plain(table.column(name))


def fields(text):
    """A CSV's records with `None` for an empty field and text for a quoted one: what Python's csv cannot tell."""
    records, record, field, quoted, i = [], [], "", False, 0
    while i < len(text):
        char = text[i]
        if char == '"':
            end, field, quoted = i + 1, "", True
            while True:
                stop = text.index('"', end)
                field += text[end:stop]
                if text[stop + 1 : stop + 2] == '"':
                    field, end = field + '"', stop + 2
                    continue
                i = stop + 1
                break
        elif char in ",\n":
            record.append(field if field or quoted else None)
            field, quoted = "", False
            if char == "\n":
                records.append(record)
                record = []
            i += 1
        else:
            field += char
            i += 1
    return records


@st.composite
def texts(draw):
    names = draw(NAMES)
    cell = st.none() | TEXT | st.integers().map(str) | st.floats().map(repr) | st.booleans().map(str)
    column = st.lists(cell, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(column, max_size=10))


def written(names, rows):
    """RFC 4180 with every text quoted, so that null and empty text differ."""
    quote = lambda v: "" if v is None else '"' + v.replace('"', '""') + '"'  # noqa: E731
    return "".join(",".join(map(quote, record)) + "\n" for record in [names, *rows])


@SLOW
@given(what=texts())
@example(what=(["a", "b"], [["007", "-0"], ["1e5", "0x10"], [None, ""]]))
@example(what=(["i"], [[str(2**53 + 1)], [str(2**63)], [str(-(2**63))]]))
@example(what=(["u"], [[str(2**64 - 1)], ["0"]]))
@example(what=(["one"], [[None], ["x"], [None]]))
@example(what=(["f"], [["0.1"], ["1e-7"], ["inf"], ["nan"]]))
@example(what=(["b"], [["True"], ["false"], [None]]))
def test_csv(echo, what):
    """A field's text means the same when it comes back: the same text, or the same number or truth value."""
    names, rows = what
    body = written(names, rows).encode()
    headers = {"Accept": "text/csv"}
    reply = echo.frame("apply", body=body, content_type="text/csv", headers=headers, model="echo", features=names)
    assert reply.status == 200, reply.body
    got = fields(reply.body.decode())
    assert got[0] == names
    assert len(got) - 1 == len(rows)
    for sent, back in zip(rows, got[1:], strict=True):
        for a, b in zip(sent, back, strict=True):
            assert same(a, b), (a, b)


def same(a, b):
    if a == b or a is None or b is None:
        return a == b
    if a.casefold() == b.casefold() in ("true", "false", "nan", "inf", "-inf"):
        return True
    try:
        if any(c in a.lower() for c in ".en") or any(c in b.lower() for c in ".e"):
            return float(a) == float(b) and math.copysign(1, float(a)) == math.copysign(1, float(b))
        return int(a) == int(b)
    except ValueError:
        return False


def test_csv_of_every_kind_as_python_reads_it(echo):
    zone = timezone(timedelta(hours=2))
    table = pa.table(
        {
            "f": [0.1, 1e300, None],
            "i": [2**60, None, -1],
            "b": [True, False, None],
            "s": ["a,b", 'c"d', "e\nf"],
            "t": pa.array([datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, 12, tzinfo=zone), None]),
            "c": pa.array(["x", "y", None]).dictionary_encode(),
        }
    )
    reply = echo.frame("apply", table, {"Accept": "text/csv"}, model="echo", features=table.column_names)
    rows = list(csv.reader(io.StringIO(reply.body.decode())))
    assert rows[0] == ["f", "i", "b", "s", "t", "c"]
    assert rows[1][:4] == ["0.1", str(2**60), "True", "a,b"]
    assert rows[2][:4] == ["1e+300", "", "False", 'c"d']
    assert rows[3][:4] == ["", "-1", "", "e\nf"]
    assert [r[4][:19] for r in rows[1:]] == ["2024-01-01 00:00:00", "2024-06-01 10:00:00", ""]
    assert [r[5] for r in rows[1:]] == ["x", "y", ""]


def test_categories_keep_their_order_and_those_that_do_not_occur(echo):
    coded = pa.DictionaryArray.from_arrays(pa.array([2, 0, None], pa.int8()), ["low", "mid", "high"], ordered=True)
    answer = echo.frame("apply", pa.table({"c": coded}), model="echo", features=["c"]).table.column("c")
    assert answer.type.ordered
    assert answer.chunk(0).dictionary.to_pylist() == ["low", "mid", "high"]
    assert answer.to_pylist() == ["high", "low", None]


def test_several_batches_with_dictionaries_of_their_own(echo):
    batches = [
        pa.record_batch({"c": pa.array(v).dictionary_encode(), "n": [float(len(v))] * 2})
        for v in (["a", "b"], ["b", "c"])
    ]
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    options = {"model": "echo", "features": ["c", "n"]}
    answer = echo.frame("apply", body=sink.getvalue(), **options).table
    assert answer.to_pydict() == {"c": ["a", "b", "b", "c"], "n": [2.0] * 4}


def test_info_says_nothing_that_json_cannot(echo):
    reply = echo.frame("apply", pa.table({"x": [float("nan")]}), model="echo")
    assert json.loads(reply.table.schema.metadata[b"labdock.info"])["rows"] == 1
