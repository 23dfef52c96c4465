"""Answers that are made whole, pages and long JSON, gzipped where the caller takes it."""

import gzip

from starlette.requests import HTTPConnection
from starlette.responses import Response

COMPRESS_FROM = 1_000  # bytes; below it nothing is gained


def compressed(connection: HTTPConnection, answer: Response) -> Response:
    """The same, gzipped. Not for what holds a secret: its length would tell what else is in it."""
    body = bytes(answer.body)
    if len(body) < COMPRESS_FROM or "gzip" not in connection.headers.get("accept-encoding", ""):
        return answer
    answer.body = gzip.compress(body, 4)
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Content-Length"] = str(len(answer.body))
    answer.headers.setdefault("Vary", "Accept-Encoding")
    return answer
