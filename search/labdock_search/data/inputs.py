"""Event files from disk: decompressed, decoded to UTF-8, and recognised by what they hold rather than by suffix."""

import bz2
import codecs
import gzip
import io
import lzma
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa

from labdock.errors import InvalidFrame

Format = Literal["csv", "parquet", "arrow", "json", "zeek", "empty"]
FORMATS: tuple[Format, ...] = ("csv", "parquet", "arrow", "json", "zeek")
HEAD = 1 << 16
MAX_TEXT = 500  # of a malformed line, in the report
MAX_PROBLEMS = 1_000  # kept in memory; all are counted, and written to the error report up to its own limit

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # tab, line ends, form feed and escape are fine
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Problem:
    """A line that could not be read. `line` is 1-based; 0 where the format has no lines."""

    line: int
    reason: str
    text: str = ""


@dataclass
class Problems:
    """All problems of one file: counted always, kept up to a limit."""

    count: int = 0
    kept: list[Problem] = field(default_factory=list)

    def add(self, line: int, reason: str, text: "str | bytes" = "") -> None:
        self.count += 1
        if len(self.kept) < MAX_PROBLEMS:
            shown = text.decode(errors="replace") if isinstance(text, bytes) else text
            self.kept.append(Problem(line, reason, shown[:MAX_TEXT].rstrip("\r\n")))


class _Recoder(io.RawIOBase):
    """A binary stream of another encoding as UTF-8. Bytes that are wrong in it become U+FFFD or Windows-1252."""

    def __init__(self, source: IO[bytes], encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: "memoryview | bytearray") -> int:  # type: ignore[override]
        while not self._rest:
            chunk = self._source.read(1 << 20)
            self._rest = self._decoder.decode(chunk, final=not chunk).encode()
            if not chunk:
                break
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class _Decompressor(io.RawIOBase):
    """A decompressing stream that closes the file below it too."""

    def __init__(self, inner: Any, file: IO[bytes]) -> None:
        self._inner = inner
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, target: "memoryview | bytearray") -> int:  # type: ignore[override]
        chunk = self._inner.read(len(target))
        target[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._inner.close()
        self._file.close()
        super().close()


class EventFile:
    """One file to ingest. `open()` may be called again and again and starts at the beginning each time."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or path.name
        self.size = path.stat().st_size
        self.notices: list[str] = []
        self._raw: IO[bytes] | None = None
        with path.open("rb") as file:
            self._compression = _compression(file.read(6))
        with self._decompressed() as stream:
            self._head = _read_all(stream, HEAD)
        self.encoding = _encoding(self._head)
        self.format: Format = recognise(self._head.decode(self.encoding, errors="replace"), self._head, self.name)

    @property
    def seekable(self) -> bool:
        """Whether the file itself, rather than a decompressed stream of it, can be read at any place."""
        return self._compression is None

    def open(self) -> IO[bytes]:
        """The content as UTF-8 without a byte order mark, or as it is for binary formats."""
        stream = self._decompressed()
        if self.format in ("parquet", "arrow") or self.encoding == "utf-8":
            return stream
        return io.BufferedReader(_Recoder(stream, self.encoding), 1 << 20)

    def decode_as(self, encoding: str) -> None:
        """Take another encoding from the next `open` on, with a notice."""
        self.encoding = encoding
        self.notices.append(f"{self.name} is not valid UTF-8; it was read as Windows-1252 (Latin-1).")

    @property
    def position(self) -> int:
        """How many bytes of the file were read by the newest `open`."""
        try:
            return self._raw.tell() if self._raw else 0
        except ValueError:
            return self.size

    def _decompressed(self) -> IO[bytes]:
        self._raw = raw = self.path.open("rb")
        inner: Any = raw
        if self._compression == "gzip":
            inner = gzip.GzipFile(fileobj=raw)
        elif self._compression == "zstd":
            inner = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
        elif self._compression == "bz2":
            inner = bz2.BZ2File(raw)
        elif self._compression == "xz":
            inner = lzma.LZMAFile(raw)  # noqa: SIM115 - closed with the stream that is returned
        return raw if inner is raw else io.BufferedReader(_Decompressor(inner, raw), 1 << 20)


def _compression(magic: bytes) -> str | None:
    known = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
    return next((name for start, name in known.items() if magic.startswith(start)), None)


def _read_all(stream: IO[bytes], size: int) -> bytes:
    found = b""
    while len(found) < size and (chunk := stream.read(size - len(found))):
        found += chunk
    return found


def _encoding(head: bytes) -> str:
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    sample = head[:4096]
    if sample.count(b"\0") > len(sample) // 4 and not head.startswith((b"PAR1", b"ARROW1", b"ElfFile")):
        return "utf-16-le" if sample[1:2] == b"\0" else "utf-16-be"
    return "utf-8"


def recognise(text: str, head: bytes, name: str) -> Format:
    """The format of a file that begins like this. Raises `InvalidFrame` for what cannot be ingested."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    text = text.lstrip("\ufeff")
    if not text.strip():
        return "empty"
    refused = {
        "ElfFile": ("a binary Windows event log", "Export it as JSON first, for example with evtx_dump -o jsonl."),
        "PK\x03\x04": ("a zip archive or an Excel file", "Unpack it, or save it as CSV."),
        "<": ("XML or HTML", "Export it as JSON lines or CSV."),
        "%PDF": ("a PDF", "Export it as CSV."),
        "SQLite format 3": ("an SQLite database", "Export its table as CSV or Parquet."),
    }
    for start, (what, remedy) in refused.items():
        if text.lstrip().startswith(start):
            raise InvalidFrame(f"{name} is {what}, which cannot be ingested.", remedy=remedy, file=name)
    if _CONTROL.search(text):
        raise InvalidFrame(
            f"{name} is neither text nor Parquet nor Arrow.",
            remedy="Give CSV, JSON lines, Zeek logs, Parquet or Arrow, plain or compressed with gzip or zstd.",
            file=name,
        )
    if text.startswith(("#separator", "#fields", "#set_separator", "#path")):
        return "zeek"
    return "json" if text.lstrip()[0] in "{[" else "csv"
