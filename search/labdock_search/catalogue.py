"""Everything that an editor needs to highlight and complete searches by itself, in one answer."""

import re
from collections.abc import Iterable
from typing import Any

from labdock_search.commands import REGISTRY, load
from labdock_search.completion import AGGREGATING, EVALUATING, KEYWORDS
from labdock_search.functions import EVAL
from labdock_search.functions.aggregates import AGGREGATES
from labdock_search.plan import Host
from labdock_search.protocols import Caller, ModelInfo

MOST_FIELDS = 2_000  # of an index


def catalogue(host: Host, caller: Caller) -> dict[str, Any]:
    """The language and what the caller may name in it: JSON values only.

    `commands` and `functions` are the language's own; `indexes` (with fields and sourcetypes), `lookups` (with
    columns) and `models` (as a search writes them, with features) are those that the caller sees.
    """
    load()
    return {
        "commands": _commands(),
        "functions": [
            {"name": f.name, "signature": f.signature, "help": f.summary, "family": f.family} for f in EVAL.values()
        ],
        "aggregates": [{"name": name, "help": found.summary} for name, found in sorted(AGGREGATES.items())],
        "keywords": sorted({word for words in KEYWORDS.values() for word in words} | {"by", "as", "AND", "OR", "NOT"}),
        "indexes": [_index(host, caller, name) for name in host.indexes.names(caller)],
        "lookups": [_lookup(host, caller, name) for name in host.lookups.names(caller)],
        "models": [_model(model) for model in host.models.list(caller)],
    }


def _commands() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "usage": command.usage,
            "help": command.summary,
            "options": _unique(re.findall(r"(\w+)=", command.usage)),
            "generating": command.generating,
            "aggregates": command.name in AGGREGATING,
            "evaluates": command.name in EVALUATING,
        }
        for name, command in sorted(REGISTRY.items())
    ]


def _index(host: Host, caller: Caller, name: str) -> dict[str, Any]:
    data = host.indexes.open(name, caller)
    known = [file.values.get("sourcetype", frozenset()) for file in data.files]
    return {
        "name": name,
        "fields": [item.name for item in data.schema][:MOST_FIELDS],
        "sourcetypes": sorted(set().union(*known)),
    }


def _lookup(host: Host, caller: Caller, name: str) -> dict[str, Any]:
    return {"name": name, "fields": list(host.lookups.open(name, caller).schema.names)[:MOST_FIELDS]}


def _model(model: ModelInfo) -> dict[str, Any]:
    shared = "" if model.sharing == "user" else "app:"
    kind = "onnx:" if model.kind == "onnx" else ""
    return {
        "name": f"{shared}{kind}{model.name}",
        "features": [feature.name for feature in model.features],
        "target": model.target,
    }


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
