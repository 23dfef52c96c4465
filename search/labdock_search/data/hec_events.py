"""Bodies of the HTTP Event Collector as events: Splunk's JSON envelopes, and raw text broken into lines."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from labdock_search.data import fields, times
from labdock_search.data.hec_answers import Refused, answer
from labdock_search.data.normalize import text
from labdock_search.data.readers.json import decode, event_of
from labdock_search.data.segments import Event

_LONG = re.compile(rb"\d{19}")
_SPACE = re.compile(r"\s*")
_PAIR = re.compile(r"(?<![\w.])([A-Za-z_][\w.-]{0,63})=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,;\"]+))", re.ASCII)
_MAX_PAIRS = 100
_INT64 = 2**63


@dataclass(frozen=True)
class Defaults:
    """What an event has that does not say otherwise: from the token and the request."""

    index: str
    source: str
    sourcetype: str
    host: str
    time: float  # when the request came


def envelopes(body: bytes) -> Iterator[Any]:
    """The JSON values of a body, one after another with or without white space, an array as its elements.

    Raises `Refused` (code 6 with the position) where the JSON ends being JSON; what came before was yielded.
    """
    whole = _at_once(body)
    if whole is not None:
        yield from whole
        return
    content = body.decode(errors="replace")
    at, count = 0, 0
    while True:
        space = _SPACE.match(content, at)
        at = space.end() if space else at
        if at == len(content):
            return
        try:
            value, at = decode(content, at)
        except (ValueError, RecursionError):
            raise Refused(answer(6, position=count)) from None
        for item in value if isinstance(value, list) else [value]:
            yield item
            count += 1


def _at_once(body: bytes) -> list[Any] | None:
    """All values of a body that is one value, or one value a line; None where it must be taken apart."""
    if _LONG.search(body):  # orjson would make floats of integers beyond 64 bits
        return None
    found: list[Any] = []
    try:
        for line in body.split(b"\n"):
            if line.strip():
                value = orjson.loads(line)
                found.extend(value if isinstance(value, list) else [value])
    except ValueError:
        return None
    return found


def parse_events(body: bytes, defaults: Defaults, allowed: Callable[[str], bool]) -> list[Event]:
    """All events of a body, or `Refused` for the first that is wrong: nothing of the body is taken then."""
    events = [_event(value, i, defaults, allowed) for i, value in enumerate(envelopes(body))]
    if not events:
        raise Refused(answer(5))
    return events


def _event(value: Any, position: int, defaults: Defaults, allowed: Callable[[str], bool]) -> Event:
    if not isinstance(value, dict):
        raise Refused(answer(6, position=position))
    content = value.get("event")
    extra = value.get("fields")
    if "event" not in value and "fields" not in value:
        raise Refused(answer(12, position=position))
    if "event" in value and (content in (None, {}, []) or (isinstance(content, str) and not content.strip())):
        raise Refused(answer(13, position=position))
    event = _content(content) if "event" in value else {}
    if extra is not None:
        event |= _extra(extra, position)
    index = str(value.get("index") or defaults.index)
    if not allowed(index):
        raise Refused(answer(7, position=position + 1))  # one more than the others, as Splunk has it
    event[fields.TIME] = _time(value.get("time"), position, event, defaults)
    _add_metadata(event, value, defaults)
    return index, exact(event)


def _add_metadata(event: dict[str, Any], envelope: Mapping[str, Any], defaults: Defaults) -> None:
    """The envelope's, else a Windows event's own, else the defaults. Fields of these names become `extracted_…`."""
    windows = str(event.get("sourcetype")).startswith("WinEventLog:")
    for name in ("source", "sourcetype", "host"):
        given, own = envelope.get(name), event.pop(name, None)
        if given in (None, "") and windows:
            event[name] = text(own)
            continue
        event[name] = text(given) if given not in (None, "") else getattr(defaults, name)
        if own is not None:
            event.setdefault(f"extracted_{name}", own)


def _content(content: Any) -> dict[str, Any]:
    """Fields of `event`: those of an object, also of one that was sent as text; `key=value` pairs of other text."""
    if isinstance(content, dict):
        return event_of(content, orjson_text(content))
    if not isinstance(content, str):
        return {fields.RAW: text(content)}
    return line_fields(content)


def orjson_text(value: Any) -> str:
    """JSON text of a value that came from JSON; integers of any size."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def line_fields(line: str) -> dict[str, Any]:
    """The fields that a text event shows: an object's, else its `key=value` pairs."""
    stripped = line.strip()
    if stripped.startswith("{") and stripped.endswith("}"):
        try:
            value, end = decode(stripped)
        except (ValueError, RecursionError):
            value, end = None, 0
        if end == len(stripped) and isinstance(value, dict):
            return event_of(value, line)
    found: dict[str, Any] = {}
    for pair in _PAIR.finditer(line):
        if len(found) == _MAX_PAIRS:
            break
        key, quoted, plain = pair.groups()
        if key not in fields.RESERVED and key != "index":
            found.setdefault(key, plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    found[fields.RAW] = line
    return found


def _extra(extra: Any, position: int) -> dict[str, Any]:
    if not isinstance(extra, dict):
        raise Refused(answer(15, position=position))
    for value in extra.values():
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value)):
            raise Refused(answer(15, position=position))
    flat = {k: v for k, v in extra.items() if not isinstance(v, list) and k not in fields.RESERVED}
    lists = {k: [text(v) for v in items if v is not None] for k, items in extra.items() if isinstance(items, list)}
    return flat | lists


def _time(value: Any, position: int, event: Mapping[str, Any], defaults: Defaults) -> float:
    """The envelope's time; else the one that a Windows event carries; else when the request came."""
    if value is None or value == "":
        own = times.parse(event.get(fields.TIME))
        return defaults.time if own is None else own
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    found = times.from_number(number) if math.isfinite(number) else None
    if found is None:
        raise Refused(answer(15, position=position))
    return found


def exact(event: dict[str, Any]) -> dict[str, Any]:
    """The event with integers beyond 64 bits as text, which no column and no frame could hold otherwise."""
    for key, value in event.items():
        if type(value) is int and not -_INT64 <= value < _INT64:
            event[key] = str(value)
    return event


def parse_raw(body: bytes, defaults: Defaults, allowed: Callable[[str], bool]) -> list[Event]:
    """One event a line; a line that begins with white space goes on with the event before (stack traces)."""
    if not allowed(defaults.index):
        refuse_index()
    content = body.decode("utf-8-sig", errors="replace")
    lines: list[str] = []
    for line in re.split(r"[\r\n]+", content):
        if not line.strip():
            continue
        if lines and line[0] in " \t":
            lines[-1] += "\n" + line
        else:
            lines.append(line)
    if not lines:
        raise Refused(answer(5))
    return [(defaults.index, _raw_event(line, defaults)) for line in lines]


def refuse_index() -> NoReturn:
    raise Refused(answer(7, position=1))


def _raw_event(line: str, defaults: Defaults) -> dict[str, Any]:
    event = line_fields(line)
    own = times.leading(line)
    if own is None:
        names = times.choose(list(event)) if line.lstrip().startswith("{") else []
        own = next((t for n in names if (t := times.parse(event[n])) is not None), None)
    event[fields.TIME] = defaults.time if own is None else own
    _add_metadata(event, {}, defaults)
    return exact(event)
