"""Splunk's HTTP Event Collector protocol without a web framework: tokens, channels, acknowledgements, answers.

A web layer passes each request on: `sender` first, before it reads the body, then `receive` with the body. Events are
durable before a request is answered, so an acknowledgement id, which Splunk's shippers poll, is true at once.
"""

import base64
import binascii
import functools
import re
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

import orjson

from labdock.errors import Busy, DiskFull, LabdockError
from labdock_search.data.collector import Collector
from labdock_search.data.hec_answers import Answer, Refused, answer
from labdock_search.data.hec_events import Defaults, parse_events, parse_raw

MAX_BODY = 64 << 20  # decompressed
MAX_CHANNELS = 10_000
MAX_ACKS = 100_000  # of one channel that were not asked for
_CHANNEL = re.compile(r"[A-Za-z0-9_.:{}-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Sender:
    """What a token may do: where its events go. `may_write` says which indexes there are for it.

    `acknowledge` True demands a channel and answers with an id, False never does, None does where a channel is sent.
    """

    name: str
    may_write: Callable[[str], bool]
    index: str = "main"
    source: str = ""
    sourcetype: str = "httpevent"
    acknowledge: bool | None = None


# Gives the token's sender, "disabled", or None for a token that nobody made.
Authorize = Callable[[str], Sender | Literal["disabled"] | None]


@dataclass
class _Channel:
    next: int = 0
    done: set[int] = field(default_factory=set)


class EventCollector:
    """The protocol over a `Collector`. Thread-safe; `receive` parses, so call it off an event loop."""

    def __init__(self, collector: Collector, authorize: Authorize, max_body: int = MAX_BODY) -> None:
        self._collector = collector
        self._authorize = authorize
        self.max_body = max_body
        self._mutex = threading.Lock()
        self._channels: OrderedDict[tuple[str, str], _Channel] = OrderedDict()

    def sender(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Sender:
        """Who sends, from `Authorization: Splunk …`, `Bearer …` or basic authentication. Raises `Refused`."""
        given = headers.get("authorization", "")
        if not given:
            raise Refused(answer(16 if "token" in query else 2))
        kind, _, value = given.strip().partition(" ")
        token = _basic(value) if kind.lower() == "basic" else value.strip()
        if kind.lower() not in ("splunk", "bearer", "basic") or not token:
            raise Refused(answer(3))
        found = self._authorize(token)
        if found is None:
            raise Refused(answer(4))
        if isinstance(found, str):
            raise Refused(answer(1))
        return found

    def receive(
        self,
        kind: Literal["event", "raw"],
        sender: Sender,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        body: bytes,
        client: str = "",
    ) -> "Future[Answer]":
        """Take a body; the future's answer is sent when the events are durable. Header names are lower case."""
        result: Future[Answer] = Future()
        try:
            channel = self._channel(sender, headers, query)
            content = self._inflated(headers, body)
            defaults = _defaults(sender, query, client)
            parse = parse_events if kind == "event" else parse_raw
            events = parse(content, defaults, sender.may_write) if content.strip() else []
            if not events:
                raise Refused(answer(5))
            written = self._collector.submit(events)
        except Refused as refused:
            result.set_result(refused.answer)
        except Busy as error:
            result.set_result(answer(23 if "shutting down" in error.message else 9))
        else:
            written.add_done_callback(functools.partial(self._finish, result, channel))
        return result

    def _finish(self, result: "Future[Answer]", channel: _Channel | None, written: "Future[None]") -> None:
        error = written.exception()
        if isinstance(error, DiskFull):  # shippers keep the events and try again
            result.set_result(answer(9))
        elif error is not None:
            result.set_result(answer(8))
        else:
            result.set_result(answer(0, ack=self._acknowledge(channel) if channel else None))

    def acknowledged(self, sender: Sender, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Answer:
        """Which of `{"acks": [0, 1]}` are durable; an id that was told true is forgotten, as in Splunk."""
        try:
            channel = self._channel(sender, headers, query)
            if channel is None:
                raise Refused(answer(14 if sender.acknowledge is False else 10))
            ids = _ack_ids(self._inflated(headers, body))
        except Refused as refused:
            return refused.answer
        with self._mutex:
            found = {str(i): i in channel.done for i in ids}
            channel.done.difference_update(ids)
        return Answer(200, {"acks": found})

    def health(self) -> Answer:
        """For load balancers; needs no token."""
        return answer(18 if self._collector.busy else 17)

    def _channel(self, sender: Sender, headers: Mapping[str, str], query: Mapping[str, str]) -> _Channel | None:
        name = headers.get("x-splunk-request-channel") or query.get("channel") or ""
        if sender.acknowledge is False or (sender.acknowledge is None and not name):
            return None
        if not name:
            raise Refused(answer(10))
        if not _CHANNEL.fullmatch(name):
            raise Refused(answer(11))
        with self._mutex:
            key = (sender.name, name)
            channel = self._channels.setdefault(key, _Channel())
            self._channels.move_to_end(key)
            while len(self._channels) > MAX_CHANNELS:
                self._channels.popitem(last=False)
        return channel

    def _acknowledge(self, channel: _Channel) -> int:
        with self._mutex:
            number = channel.next
            channel.next += 1
            channel.done.add(number)
            if len(channel.done) > MAX_ACKS:
                channel.done.discard(min(channel.done))
        return number

    def _inflated(self, headers: Mapping[str, str], body: bytes) -> bytes:
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding in ("", "identity"):
            content = body
        elif encoding in ("gzip", "x-gzip"):
            content = _gunzip(body, self.max_body)
        else:
            raise Refused(answer(6))
        if len(content) > self.max_body:
            raise Refused(answer(27))
        return content


def _gunzip(body: bytes, limit: int) -> bytes:
    """All members of a gzip body; `Refused` when it is none or holds more than `limit` bytes."""
    found: list[bytes] = []
    size = 0
    while body:
        inflate = zlib.decompressobj(wbits=31)
        try:
            found.append(inflate.decompress(body, limit - size + 1))
        except zlib.error:
            raise Refused(answer(6)) from None
        size += len(found[-1])
        if size > limit:
            raise Refused(answer(27))
        if not inflate.eof:
            raise Refused(answer(6))
        body = inflate.unused_data
    return b"".join(found)


def _defaults(sender: Sender, query: Mapping[str, str], client: str) -> Defaults:
    """The request's own metadata before the token's."""
    now = time.time()
    try:
        given = float(query["time"]) if "time" in query else now
    except ValueError:
        raise Refused(answer(15)) from None
    return Defaults(
        index=query.get("index") or sender.index,
        source=query.get("source") or sender.source or f"http:{sender.name}",
        sourcetype=query.get("sourcetype") or sender.sourcetype,
        host=query.get("host") or client or "unknown",
        time=given,
    )


def _ack_ids(body: bytes) -> list[int]:
    try:
        ids = orjson.loads(body)["acks"]
    except (ValueError, KeyError, TypeError):
        raise Refused(answer(6)) from None
    if not isinstance(ids, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise Refused(answer(6))
    return ids


def _basic(value: str) -> str:
    """The token of basic authentication: its password, whatever the user."""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def refusal(error: LabdockError) -> Answer:
    """The answer for an error that `sender` raised."""
    return error.answer if isinstance(error, Refused) else answer(8)
