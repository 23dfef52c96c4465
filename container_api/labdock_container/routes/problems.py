"""The one table from error code to HTTP status, and errors as RFC 9457 problem details."""

import json

from labdock.errors import LabdockError
from labdock.wire import PROBLEM

Headers = list[tuple[bytes, bytes]]

STATUS: dict[str, int] = {
    "error": 500,
    "bad-request": 400,
    "invalid-options": 422,
    "invalid-name": 422,
    "invalid-frame": 422,
    "not-found": 404,
    "conflict": 409,
    "unauthenticated": 401,
    "forbidden": 403,
    "busy": 503,
    "limit-exceeded": 413,
    "module-error": 422,
    "module-timeout": 504,
    "module-out-of-memory": 507,
    "module-crashed": 500,
    "storage-error": 500,
    "disk-full": 507,
    "transport-error": 408,
}


def problem(error: LabdockError, status: int | None = None) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer that describes `error`."""
    number = status or STATUS.get(error.code, 500)
    body = json.dumps({**error.to_problem(), "status": number}, default=str).encode()
    headers = [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
    if number == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return number, headers, body
