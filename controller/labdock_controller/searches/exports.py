"""A search's rows in the formats that users keep, while they are found."""

from collections.abc import Iterator

import pyarrow as pa

from labdock.errors import InvalidOptions
from labdock_controller.searches.jobs import SearchJob, stream
from labdock_search.data.export import FORMATS, ExportFormat, export


def format_of(name: str) -> ExportFormat:
    """Raises `InvalidOptions` where there is none of that name."""
    if name not in FORMATS:
        raise InvalidOptions(f"There is no format {name!r}.", remedy=f"Formats are: {', '.join(FORMATS)}.")
    return FORMATS[name]


def exported(job: SearchJob, name: str) -> Iterator[bytes]:
    """The rows in a format, read from the job's file as it is written."""
    if name == "arrow":
        yield from stream(job)
        return
    reader = pa.ipc.open_stream(_Following(stream(job)))
    yield from export(reader, reader.schema, name)


class _Following:
    """A file for Arrow's reader over pieces that come one after the other."""

    closed = False

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, size: int = -1) -> bytes:
        parts, missing = [], size
        while missing:
            part = self._rest or next(self._pieces, b"")
            if not part:
                break
            self._rest = part[missing:] if 0 <= missing < len(part) else b""
            parts.append(part[:missing] if missing >= 0 else part)
            missing -= len(parts[-1]) if missing >= 0 else 0
        return b"".join(parts)

    def close(self) -> None:
        """Nothing is open here."""
