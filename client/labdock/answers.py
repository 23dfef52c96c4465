"""One answer: its body read into memory once, and a refusal turned back into the error that it describes."""

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator

from labdock.errors import LabdockError, TransportError, Unauthenticated, from_problem

Moved = Callable[[str, int, int], None]  # ("sent" or "received", bytes so far, bytes in all)

PIECE = 8 << 20  # bytes between two calls of a `Moved`


class Response:
    """An answer whose body was not read yet. Read it or `close` it: the connection is free again after that."""

    def __init__(
        self,
        raw: http.client.HTTPResponse,
        link: http.client.HTTPConnection,
        done: Callable[[http.client.HTTPConnection, bool], None],
        sock: socket.socket | None = None,
    ) -> None:
        self.status = raw.status
        self.headers = raw.headers
        self.length = raw.length  # None where the server did not say
        self._raw = raw
        self._link = link
        self._sock = sock
        self._done = done

    def read(self) -> bytes:
        """The whole body."""
        try:
            with translated():
                body = self._raw.read()
        except BaseException:
            self.close()
            raise
        self._finish()
        return body

    def read_into(self, target: memoryview, moved: Moved | None = None) -> None:
        """Fill `target`, which is as long as the body; raises `TransportError` when the body ends early."""
        total = len(target)
        at = 0
        try:
            with translated():
                while at < total:
                    count = self._raw.readinto(target[at : at + PIECE] if moved else target[at:])
                    if not count:
                        raise http.client.IncompleteRead(b"", total - at)
                    at += count
                    if moved:
                        moved("received", at, total)
                self._raw.read()
        except BaseException:
            self.close()
            raise
        self._finish()

    def read_some(self, target: memoryview) -> int:
        """Read what fits and is there; 0 at the end, where the connection is free again."""
        try:
            with translated():
                count = self._raw.readinto(target)
        except BaseException:
            self.close()
            raise
        if not count:
            self._finish()
        return count

    def lines(self) -> Iterator[str]:
        """Lines as they come, without their ends, until the server ends the stream or the iterator is closed."""
        try:
            with translated():
                while line := self._raw.readline():
                    yield line.decode("utf-8", "replace").rstrip("\r\n")
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection up; what was not read is lost."""
        self._raw.close()
        self._done(self._link, False)

    def abort(self) -> None:
        """End the stream for the thread that reads it, from another one."""
        if self._sock is not None:
            with contextlib.suppress(OSError):  # the reader may have closed it already
                self._sock.shutdown(socket.SHUT_RDWR)

    def _finish(self) -> None:
        keep = not self._raw.will_close
        self._raw.close()
        self._done(self._link, keep)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(
            f"The connection broke while the answer was read: {describe(error)}.",
            remedy="Try again; a fit goes on meanwhile and its result can be fetched (labdock jobs).",
            cause=describe(error),
        ) from error


def describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed it without an answer"
    if isinstance(error, http.client.IncompleteRead):
        return f"{error.expected} bytes are missing"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".").lower()


def refusal(response: Response, url: str) -> LabdockError:
    """The error that an answer of 400 or more describes; a proxy's page becomes a `TransportError`."""
    status = response.status
    content = response.read()
    with contextlib.suppress(ValueError):
        problem = json.loads(content)
        if isinstance(problem, dict) and "code" in problem:
            return from_problem(problem)
    if status == 401:
        return Unauthenticated(f"{url} does not accept this token.", remedy="Set LABDOCK_TOKEN, or labdock up -d.")
    text = content[:300].decode("utf-8", "replace").strip()
    return TransportError(
        f"{url} answered {status}{': ' + text if text else ''}.",
        remedy="Check that this is the address of a Labdock controller.",
        url=url,
        status=status,
    )
