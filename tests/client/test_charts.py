"""Charts from a result's shape. Altair validates each against Vega-Lite's schema; what is drawn is checked by hand."""

import json
from typing import Any

import altair as alt
import pytest

from labdock.charts import MOST_ROWS, TYPES, Chart, suggest

N, S, M = "number", "string", "multivalue"


def fields(**kinds: str) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in kinds.items()]


def drawn(given: list[dict[str, str]], rows: list[dict[str, Any]], kind: str = "auto") -> Chart:
    chart = suggest(given, rows, kind)
    assert chart is not None
    alt.Chart.from_dict(json.loads(json.dumps(chart.spec, allow_nan=False)), validate=True)
    return chart


HOURS = [{"_time": 3600.0 * i, "tcp": i, "udp": 2 * i} for i in range(24)]


@pytest.mark.parametrize(
    ("given", "rows", "first", "others"),
    [
        (
            fields(_time=N, count=N),
            [{"_time": 1.0, "count": 2}, {"_time": 2.0, "count": 3}],
            "line",
            {"area", "column"},
        ),
        (fields(_time=N, tcp=N, udp=N), HOURS, "line", {"area", "column", "scatter"}),
        (fields(host=S, count=N), [{"host": "a", "count": 1}, {"host": "b", "count": 5}], "bar", {"pie"}),
        (
            fields(host=S, app=S, count=N),
            [{"host": h, "app": a, "count": 1} for h in "ab" for a in "xy"],
            "bar",
            {"heatmap"},
        ),
        (fields(count=N), [{"count": 7}], "single", set()),
        (fields(x=N, y=N), [{"x": i, "y": i * i} for i in range(9)], "scatter", {"histogram"}),
        (fields(x=N), [{"x": i} for i in range(9)], "histogram", set()),
        (fields(_time=N, host=S), [{"_time": 1.0, "host": "a"}, {"_time": 90.0, "host": "b"}], "timeline", set()),
        (fields(host=S), [{"host": "a"}, {"host": "b"}], "counts", set()),
    ],
)
def test_the_type_follows_the_shape(
    given: list[dict[str, str]], rows: list[dict[str, Any]], first: str, others: set[str]
) -> None:
    chart = drawn(given, rows)
    assert chart.type == chart.types[0] == first
    assert others <= set(chart.types)
    for kind in chart.types:  # each that is offered can be drawn
        assert drawn(given, rows, kind).type == kind


def test_every_type_is_offered_for_some_shape() -> None:
    shapes = [fields(_time=N, a=N, b=N), fields(_time=N, h=S), fields(h=S, a=N), fields(h=S, g=S, a=N), fields(h=S)]
    shapes += [fields(a=N)]
    rows = [{"_time": float(i), "a": i, "b": i, "h": str(i), "g": "x"} for i in range(3)]
    found = {kind for shape in shapes for n in (1, 3) for kind in getattr(suggest(shape, rows[:n]), "types", [])}
    assert found == set(TYPES)


@pytest.mark.parametrize("given", [[], fields(_raw=S), fields(tags=M)])
def test_nothing_is_drawn_where_nothing_can_be(given: list[dict[str, str]]) -> None:
    assert suggest(given, [{"tags": ["a"], "_raw": "x"}]) is None


def test_no_rows_is_no_chart() -> None:
    assert suggest(fields(host=S, count=N), []) is None


def test_columns_over_time_become_series_with_their_names() -> None:
    chart = drawn(fields(_time=N, tcp=N, udp=N), HOURS)
    assert chart.spec["transform"][0] == {"fold": ["tcp", "udp"], "as": ["series", "value"]}
    assert chart.spec["data"]["values"][2] == {"time": 7_200_000.0, "tcp": 2, "udp": 4}
    assert chart.spec["encoding"]["x"]["type"] == "temporal"


def test_names_that_vega_would_read_as_paths_are_titles_only() -> None:
    name = "a.b['c']\"</script>"
    chart = drawn(fields(**{"_time": N, name: N, "datum": N}), [{"_time": 1.0, name: 4, "datum": 2}] * 2)
    inside = json.dumps({k: v for k, v in chart.spec.items() if k != "data"})
    values = chart.spec["data"]["values"][0]
    assert set(values) == {"time", "c0", "datum"}
    fold, lookup = chart.spec["transform"]
    assert fold["fold"] == ["c0", "datum"]
    assert lookup["from"]["data"]["values"][0] == {"series": "c0", "title": name}
    assert f'"field": {json.dumps(name)}' not in inside


def test_many_values_are_cut_to_the_largest_and_said() -> None:
    rows = [{"host": f"h{i}", "count": i} for i in range(500)]
    chart = drawn(fields(host=S, count=N), rows)
    [kept] = chart.spec["transform"]
    assert kept["filter"]["oneOf"] == [f"h{i}" for i in range(499, 459, -1)]
    assert chart.note == "40 of 500 host."


def test_rows_beyond_the_limit_are_left_out_and_said() -> None:
    rows = [{"x": i, "y": i} for i in range(MOST_ROWS + 1)]
    chart = drawn(fields(x=N, y=N), rows)
    assert len(chart.spec["data"]["values"]) == MOST_ROWS
    assert chart.note.startswith("The first 5,000 of 5,001 rows.")


def test_numbers_that_json_lacks_are_left_out() -> None:
    chart = drawn(fields(host=S, n=N), [{"host": "a", "n": "nan"}, {"host": "b", "n": 2.5}])
    assert [row["n"] for row in chart.spec["data"]["values"]] == [None, 2.5]
