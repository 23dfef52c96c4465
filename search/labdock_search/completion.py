"""What can be written at a place of a search."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from labdock_search.commands import REGISTRY, load
from labdock_search.functions import EVAL
from labdock_search.functions.aggregates import AGGREGATES
from labdock_search.plan import Host
from labdock_search.protocols import Caller

Sort = Literal["command", "function", "option", "field", "index", "lookup", "model"]
WORD = re.compile(r"[^\s|,()=\[\]\"']*$")
AGGREGATING = {"stats", "eventstats", "streamstats", "timechart", "chart", "tstats"}
EVALUATING = {"eval", "where"}
KEYWORDS = {"stats": ("by", "as"), "rename": ("as",), "lookup": ("OUTPUT", "OUTPUTNEW", "as"), "fit": ("from", "into")}


@dataclass(frozen=True)
class Completion:
    """`text` replaces the characters from `start` to the position asked for."""

    text: str
    start: int
    sort: Sort
    help: str = ""


def complete(host: Host, caller: Caller, text: str, position: int) -> list[Completion]:
    """Never raises for a text that cannot be parsed."""
    load()
    before = text[: max(0, min(position, len(text)))][-20_000:]
    shift = len(text[:position]) - len(before)
    piece = before[_last_pipe(before) :]
    word = WORD.search(before)
    typed = word.group() if word else ""
    start = shift + len(before) - len(typed)
    named = re.match(r"\s*([A-Za-z_]\w*)\s", piece)
    first = _last_pipe(before) == 0
    if not first and named is None:
        return _fitting(typed, start, "command", {n: c.summary for n, c in REGISTRY.items()})
    command = named.group(1) if named and not first else "search"
    return _arguments(host, caller, command, piece, typed, start)


def _last_pipe(text: str) -> int:
    """Where the last command begins: after the last `|` or `[` outside quotes, or 0."""
    at = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"?|[|\[]', text, re.DOTALL):
        if match.group()[0] != '"':
            at = match.end()
    return at


def _arguments(host: Host, caller: Caller, command: str, piece: str, typed: str, start: int) -> list[Completion]:
    after = piece[: len(piece) - len(typed)] if typed else piece
    option = re.search(r"(\w+)\s*=\s*\"?$", after)
    if option and option.group(1) == "index":
        return _fitting(typed, start, "index", dict.fromkeys(host.indexes.names(caller), ""))
    found: list[Completion] = []
    if command in {"inputlookup", "lookup", "outputlookup"}:
        found += _fitting(typed, start, "lookup", dict.fromkeys(host.lookups.names(caller), ""))
    if command in {"apply", "summary", "deletemodel", "fit"}:
        models = {("onnx:" if m.kind == "onnx" else "") + m.name: m.sharing for m in host.models.list(caller)}
        found += _fitting(typed, start, "model", models)
    if command in AGGREGATING:
        found += _fitting(typed, start, "function", {n: a.summary for n, a in AGGREGATES.items()})
    if command in EVALUATING or "eval(" in piece:
        found += _fitting(typed, start, "function", {n: f"{f.signature}: {f.summary}" for n, f in EVAL.items()})
    if command == "search":
        found += _fitting(
            typed, start, "option", {"index=": "an index", "earliest=": "", "latest=": "", "sourcetype=": ""}
        )
    found += _fitting(typed, start, "option", dict.fromkeys(_options(command), ""))
    found += _fitting(typed, start, "field", dict.fromkeys(_fields(host, caller, piece), ""))
    return found


def _options(command: str) -> Iterable[str]:
    """The options in a command's syntax line."""
    known = REGISTRY.get(command)
    return [f"{name}=" for name in re.findall(r"(\w+)=", known.usage)] if known else []


def _fields(host: Host, caller: Caller, piece: str) -> Iterable[str]:
    """The fields of the indexes that the caller may read; for lookups their own."""
    names: dict[str, None] = {}
    for index in list(host.indexes.names(caller))[:20]:
        for item in host.indexes.open(index, caller).schema:
            names.setdefault(item.name)
    return list(names)[:2000] if piece is not None else ()


def _fitting(typed: str, start: int, sort: Sort, known: dict[str, str]) -> list[Completion]:
    lowered = typed.lower()
    return [Completion(n, start, sort, h) for n, h in sorted(known.items()) if n.lower().startswith(lowered)][:200]
