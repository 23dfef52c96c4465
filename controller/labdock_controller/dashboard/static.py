"""The dashboard's files. Their address holds the hash of them all, so that a browser keeps them for good."""

import base64
import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from labdock.errors import NotFound
from labdock_controller.access.rights import OPEN
from labdock_controller.web.guard import needs

FOLDER = Path(__file__).parent / "static"
STYLES = ("labdock.css", "search.css", "vendor/uplot.css")  # those that pages hold
FOR_GOOD = "public, max-age=31536000, immutable"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
router = APIRouter(tags=["dashboard"])


@dataclass(frozen=True)
class File:
    content: bytes
    compressed: bytes | None
    kind: str


@cache
def files() -> dict[str, Path]:
    """Every file by its name below `static/`; found once, so no request names a path."""
    found = (p for p in sorted(FOLDER.rglob("*")) if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(FOLDER).as_posix(): p for p in found}


@cache
def version() -> str:
    """The hash of all files: modules import one another by relative addresses, so they have one in common."""
    digest = hashlib.sha256()
    for name, path in files().items():
        digest.update(f"{name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def address(name: str) -> str:
    """Where the browser gets `static/<name>`. Raises `NotFound` for a file that is not there."""
    _require(name)
    return f"/static/{version()}/{name}"


def _require(name: str) -> None:
    if name not in files():
        remedy = "Run: python tools/assets.py" if name.startswith("vendor/") else "Install Labdock again."
        raise NotFound(f"The dashboard's file {name} is not there.", remedy=remedy, kind="file", name=name)


@cache
def style(name: str) -> Markup:
    """One of `STYLES` as an element of the page: a first page that fetches its stylesheet shows its content up to 40 ms
    later. Raises `NotFound`."""
    _require(name)
    return Markup(f"<style>{read(name).content.decode()}</style>")  # noqa: S704 - a file of ours


@cache
def style_hashes() -> str:
    """What a page's policy says of `STYLES`, so that no other style in a page counts."""
    found = [read(name).content for name in STYLES if name in files()]
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(each).digest()).decode()}'" for each in found)


@cache
def read(name: str) -> File:
    """The file, compressed where that pays; kept in memory, they are few."""
    path = files()[name]
    content = path.read_bytes()
    small = gzip.compress(content, 9)
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return File(content, small if len(small) < len(content) * 0.9 else None, kind)


@router.get("/static/{stamp}/{name:path}")
@needs(OPEN)
async def static(request: Request, stamp: str, name: str) -> Response:
    """One file. An address of another version gives what there is now, not to be kept.

    A page asks for twenty at once, all but the first time from memory: a thread for each would take longer.
    """
    if name not in files():
        raise NotFound(f"There is no file {name[:100]!a}.", remedy="Reload the page.", kind="file", name=name[:100])
    file = read(name)
    headers = {"Cache-Control": FOR_GOOD if stamp == version() else "no-cache", "Vary": "Accept-Encoding"}
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.kind)
    return Response(file.content, headers=headers, media_type=file.kind)


@router.get("/favicon.ico")
@needs(OPEN)
async def favicon() -> Response:
    """Browsers ask for it unasked."""
    return Response(read("labdock.svg").content, headers={"Cache-Control": "max-age=86400"}, media_type="image/svg+xml")
