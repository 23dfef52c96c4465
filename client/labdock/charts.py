"""Charts of a search's result: from its shape to a Vega-Lite specification, the same in the dashboard and in Python.

`suggest(fields, rows)` is a pure function. Fields whose names mean something to Vega (dots, brackets, quotes) are
called `c0`, `c1`… inside and keep their names as titles, so that no name is ever taken for an expression.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labdock.chart_shapes import TIME, Rows, Shape, is_number, shape_of, values_of

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
MOST_ROWS = 5_000  # a chart of more is a chart of these
MOST_SERIES = 10
MOST_BARS = 40
MOST_SLICES = 8


@dataclass(frozen=True)
class Chart:
    """A chart with its data inside. `types` are all that fit the result, `type` is the one drawn."""

    type: str
    types: list[str]
    spec: Spec
    note: str = ""  # what is not shown


def suggest(fields: Sequence[Mapping[str, str]], rows: Rows, type: str = "auto") -> Chart | None:  # noqa: A002
    """The chart that fits a result best, or the one of `type` where it is possible; None where nothing can be drawn.

    `fields` are `{"name", "type"}` with the types `number`, `string`, `multivalue`; `_time` is epoch seconds.
    """
    shape = shape_of(fields, rows[:MOST_ROWS])
    possible = _possible(shape)
    if not possible or not shape.rows:
        return None
    chosen = type if type in possible else possible[0]
    drawn, note = _DRAW[chosen](shape)
    if len(rows) > MOST_ROWS:
        note = f"The first {MOST_ROWS:,} of {len(rows):,} rows. {note}".strip()
    spec = {"$schema": SCHEMA, "width": "container", "height": 320, "data": {"values": values_of(shape)}, **drawn}
    return Chart(chosen, possible, spec, note)


def _possible(shape: Shape) -> list[str]:
    """The types that fit, the best first."""
    found: list[str] = []
    if shape.time and shape.numbers:
        found += ["line", "area", "column"]
    if shape.time and not shape.numbers:
        found += ["timeline"]
    if not shape.time and len(shape.rows) == 1 and shape.numbers and not shape.texts:
        found += ["single"]
    if not shape.time and len(shape.texts) >= 2 and shape.numbers:
        found += ["bar", "heatmap"]
    elif not shape.time and shape.texts and shape.numbers:
        found += ["bar", "pie"]
    if len(shape.numbers) >= 2:
        found += ["scatter"]
    if shape.numbers and len(shape.rows) > 1:
        found += ["histogram"]
    if not found and shape.texts:
        found += ["counts"]
    return found


def _x_time() -> Spec:
    return {"field": "time", "type": "temporal", "title": None, "axis": {"labelOverlap": True, "tickCount": 8}}


def _number(shape: Shape, name: str, **more: Any) -> Spec:
    return {"field": shape.names[name], "type": "quantitative", "title": name, **more}


def _text(shape: Shape, name: str, **more: Any) -> Spec:
    return {"field": shape.names[name], "type": "nominal", "title": name, **more}


def _kept(shape: Shape, name: str, most: int) -> tuple[list[Spec], str]:
    """A filter for the largest values of a field, and what to say about the others."""
    known = shape.distinct(name)
    if len(known) <= most:
        return [], ""
    return [{"filter": {"field": shape.names[name], "oneOf": known[:most]}}], f"{most} of {len(known)} {name}."


def _series(shape: Shape) -> tuple[list[Spec], Spec, Spec | None, str]:
    """How rows over time become lines: transforms, the value's channel, the colour's channel, a note."""
    if shape.texts:
        name = next((t for t in shape.texts if len(shape.distinct(t)) <= MOST_SERIES), shape.texts[0])
        transforms, note = _kept(shape, name, MOST_SERIES)
        return transforms, _number(shape, shape.numbers[0]), _text(shape, name), note
    if len(shape.numbers) == 1:
        return [], _number(shape, shape.numbers[0]), None, ""
    shown = shape.numbers[:MOST_SERIES]
    note = f"{MOST_SERIES} of {len(shape.numbers)} fields." if len(shape.numbers) > MOST_SERIES else ""
    transforms, value, colour = _folded(shape, shown)
    return transforms, value, colour, note


def _folded(shape: Shape, names: Sequence[str]) -> tuple[list[Spec], Spec, Spec]:
    """Several number columns as one, with the column's name beside it under its own title."""
    fold: Spec = {"fold": [shape.names[n] for n in names], "as": ["series", "value"]}
    renamed = [n for n in names if shape.names[n] != n]
    transforms = [fold]
    if renamed:
        titles = {"values": [{"series": shape.names[n], "title": n} for n in names]}
        lookup = {"data": titles, "key": "series", "fields": ["title"]}
        transforms.append({"lookup": "series", "from": lookup, "as": ["series"]})
    colour = {"field": "series", "type": "nominal", "title": None, "sort": list(names)}
    return transforms, {"field": "value", "type": "quantitative", "title": None}, colour


def _over_time(mark: Spec, *, stack: bool | None = None) -> Callable[[Shape], tuple[Spec, str]]:
    def draw(shape: Shape) -> tuple[Spec, str]:
        transforms, value, colour, note = _series(shape)
        y = value if stack is None else {**value, "stack": "zero" if stack else None}
        encoding: Spec = {"x": _x_time(), "y": y}
        tips = [{"field": "time", "type": "temporal", "title": "time", "format": "%Y-%m-%d %H:%M:%S"}]
        if colour is not None:
            encoding["color"] = colour
            tips.append({**{k: v for k, v in colour.items() if k != "sort"}, "title": colour["title"] or "series"})
        tips.append({**value, "title": value["title"] or "value", "format": ",.6~g"})
        return {"transform": transforms, "mark": mark, "encoding": {**encoding, "tooltip": tips}}, note

    return draw


def _rows_high() -> Spec:
    """A row for each value, however many there are, as wide as the place."""
    return {"height": {"step": 22}, "autosize": {"type": "fit-x", "contains": "padding"}}


def _bars(shape: Shape) -> tuple[Spec, str]:
    name = shape.texts[0]
    transforms, note = _kept(shape, name, MOST_BARS)
    tips = [_text(shape, name)]
    if len(shape.texts) > 1:
        second, more = shape.texts[1], ""
        kept, more = _kept(shape, second, MOST_SERIES)
        value, colour, transforms, note = (
            _number(shape, shape.numbers[0]),
            _text(shape, second),
            transforms + kept,
            (f"{note} {more}".strip()),
        )
        tips.append(_text(shape, second))
    elif len(shape.numbers) > 1 and _alike(shape):
        folded, value, colour = _folded(shape, shape.numbers[:MOST_SERIES])
        transforms = transforms + folded
        tips.append({**{k: v for k, v in colour.items() if k != "sort"}, "title": "field"})
    else:
        value, colour = _number(shape, shape.numbers[0]), None
    order = {"op": "sum", "field": value["field"], "order": "descending"}
    y = _text(shape, name, sort=order, axis={"labelLimit": 220})
    encoding: Spec = {"y": y, "x": value, "tooltip": [*tips, {**value, "title": value["title"] or "value"}]}
    if colour is not None:
        encoding["color"] = colour
    if colour is not None and colour["field"] == "series":  # measures beside one another: their sum means nothing
        encoding["yOffset"] = {"field": "series", "sort": colour["sort"]}
    mark = {"type": "bar", "cornerRadiusEnd": 2}
    return {**_rows_high(), "transform": transforms, "mark": mark, "encoding": encoding}, note


def _alike(shape: Shape) -> bool:
    """Whether the number columns are of one magnitude, so that one axis serves them."""
    sizes = [max((abs(r.get(n) or 0) for r in shape.rows if is_number(r.get(n))), default=0) for n in shape.numbers]
    return min(sizes) > 0 and max(sizes) / min(sizes) < 100


def _pie(shape: Shape) -> tuple[Spec, str]:
    transforms, note = _kept(shape, shape.texts[0], MOST_SLICES)
    order = {"field": shape.names[shape.numbers[0]], "type": "quantitative", "sort": "descending"}
    colour = _text(shape, shape.texts[0], sort={"field": shape.names[shape.numbers[0]], "order": "descending"})
    encoding = {
        "theta": _number(shape, shape.numbers[0], stack=True),
        "color": colour,
        "order": order,
        "tooltip": [_text(shape, shape.texts[0]), _number(shape, shape.numbers[0])],
    }
    mark = {"type": "arc", "innerRadius": 70, "padAngle": 0.01}
    return {"transform": transforms, "mark": mark, "encoding": encoding}, note


def _heatmap(shape: Shape) -> tuple[Spec, str]:
    first, second, number = shape.texts[0], shape.texts[1], shape.numbers[0]
    transforms, note = _kept(shape, first, MOST_BARS)
    more, other = _kept(shape, second, MOST_BARS)
    encoding = {
        "y": _text(shape, first, axis={"labelLimit": 220}),
        "x": _text(shape, second),
        "color": _number(shape, number),
        "tooltip": [_text(shape, first), _text(shape, second), _number(shape, number)],
    }
    spec = {**_rows_high(), "transform": transforms + more, "mark": "rect", "encoding": encoding}
    return spec, f"{note} {other}".strip()


def _scatter(shape: Shape) -> tuple[Spec, str]:
    x, y = shape.numbers[:2]
    encoding: Spec = {"x": _number(shape, x, scale={"zero": False}), "y": _number(shape, y, scale={"zero": False})}
    tips = [_number(shape, x), _number(shape, y)]
    few = next((t for t in shape.texts if len(shape.distinct(t)) <= MOST_SERIES), None)
    if few is not None:
        encoding["color"] = _text(shape, few)
    tips += [_text(shape, name) for name in shape.texts[:4]]
    return {"mark": {"type": "circle", "opacity": 0.6, "size": 36}, "encoding": {**encoding, "tooltip": tips}}, ""


def _histogram(shape: Shape) -> tuple[Spec, str]:
    x = _number(shape, shape.numbers[0], bin={"maxbins": 40})
    count = {"aggregate": "count", "type": "quantitative", "title": "rows"}
    return {"mark": {"type": "bar"}, "encoding": {"x": x, "y": count, "tooltip": [x, count]}}, ""


def _timeline(shape: Shape) -> tuple[Spec, str]:
    """Events over time: how many, in as many ranges as there is room for."""
    moments: list[float] = [row[TIME] for row in shape.rows if is_number(row.get(TIME))]
    span = max(moments) - min(moments) if moments else 0
    x = {**_x_time(), "bin": {"maxbins": 60, "minstep": 1000}} if span else _x_time()
    count = {"aggregate": "count", "type": "quantitative", "title": "events"}
    tip = {key: value for key, value in x.items() if key != "axis"}
    return {"mark": {"type": "bar"}, "encoding": {"x": x, "y": count, "tooltip": [tip, count]}}, ""


def _counts(shape: Shape) -> tuple[Spec, str]:
    transforms, note = _kept(shape, shape.texts[0], MOST_BARS)
    count = {"aggregate": "count", "type": "quantitative", "title": "rows"}
    y = _text(shape, shape.texts[0], sort="-x", axis={"labelLimit": 220})
    encoding = {"y": y, "x": count, "tooltip": [_text(shape, shape.texts[0]), count]}
    return {**_rows_high(), "transform": transforms, "mark": {"type": "bar"}, "encoding": encoding}, note


def _single(shape: Shape) -> tuple[Spec, str]:
    name = shape.numbers[0]
    text = _number(shape, name, format=",.6~g")
    title = {"text": name, "anchor": "middle"}
    return {"height": 140, "title": title, "mark": {"type": "text", "fontSize": 56}, "encoding": {"text": text}}, ""


_DRAW: dict[str, Callable[[Shape], tuple[Spec, str]]] = {
    "line": _over_time({"type": "line", "point": False, "strokeWidth": 1.6}),
    "area": _over_time({"type": "area", "opacity": 0.75, "line": True}, stack=True),
    "column": _over_time({"type": "bar"}, stack=True),
    "timeline": _timeline,
    "single": _single,
    "bar": _bars,
    "heatmap": _heatmap,
    "pie": _pie,
    "scatter": _scatter,
    "histogram": _histogram,
    "counts": _counts,
}
TYPES = tuple(_DRAW)
