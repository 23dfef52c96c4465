"""Server-sent events: what a job prints, how far it is, and what becomes of an environment."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """`kind` is `log`, `progress`, `status` or what the stream calls it; `data` is parsed JSON, else text."""

    kind: str
    data: Any
    id: str = ""

    @property
    def text(self) -> str:
        """The event in words, for people."""
        if isinstance(self.data, dict):
            for key in ("text", "line", "message", "step", "status"):
                if self.data.get(key):
                    return str(self.data[key]).rstrip()
            return ""
        return str(self.data)


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Events from the lines of a `text/event-stream`; comments (heartbeats) are dropped."""
    kind, identity, data = "message", "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield Event(kind, _value("\n".join(data)), identity)
            kind, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            identity = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
