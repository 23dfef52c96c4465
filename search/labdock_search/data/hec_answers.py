"""What the HTTP Event Collector answers: Splunk's codes, texts and HTTP statuses, as its shippers expect them."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from labdock.errors import RequestError

_TEXTS: dict[int, tuple[int, str]] = {
    0: (200, "Success"),
    1: (403, "Token disabled"),
    2: (401, "Token is required"),
    3: (401, "Invalid authorization"),
    4: (403, "Invalid token"),
    5: (400, "No data"),
    6: (400, "Invalid data format"),
    7: (400, "Incorrect index"),
    8: (500, "Internal server error"),
    9: (503, "Server is busy"),
    10: (400, "Data channel is missing"),
    11: (400, "Invalid data channel"),
    12: (400, "Event field is required"),
    13: (400, "Event field cannot be blank"),
    14: (400, "ACK is disabled"),
    15: (400, "Error in handling indexed fields"),
    16: (400, "Query string authorization is not enabled"),
    17: (200, "HEC is healthy"),
    18: (503, "HEC is unhealthy, queues are full"),
    23: (503, "Server is shutting down"),
    27: (413, "Request entity too large"),
}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its status and JSON body."""

    status: int
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return orjson.dumps(self.content)


def answer(code: int, *, position: int | None = None, ack: int | None = None) -> Answer:
    """The answer of Splunk's `code`; `position` is the zero-based number of the event that is wrong."""
    status, text = _TEXTS[code]
    content: dict[str, Any] = {"text": text, "code": code}
    if position is not None:
        content["invalid-event-number"] = position
    if ack is not None:
        content["ackId"] = ack
    return Answer(status, content)


class Refused(RequestError):
    """A request that is answered with a code other than success. `answer` is what the sender gets."""

    code = "event-refused"

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.content.get("text", "Refused")), remedy="See the HTTP Event Collector's codes.")
        self.answer = answer
