"""`labdock images`: what environments start from; build, save and load use the Docker Engine of this machine."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from labdock.cli import options
from labdock.cli.output import note, say, show_json, show_table
from labdock.errors import ImageMissing, InvalidOptions, LaunchError, RuntimeUnavailable, StorageError
from labdock.progress import Activity

COLUMNS = {
    "name": "NAME",
    "title": "TITLE",
    "runtime": "RUNTIME",
    "present": "PRESENT",
    "gpu": "GPU",
    "limits": "LIMITS",
}
LABEL = "dev.labdock.image"
BLOCK = 2**20
LAST_LINES = 40


class Action(StrEnum):
    LIST = "list"
    BUILD = "build"
    SAVE = "save"
    LOAD = "load"


def images(
    action: Annotated[Action, typer.Argument(help="list, build, save or load.")] = Action.LIST,
    names: Annotated[list[str] | None, typer.Argument(help="Names of images, for build and save.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="For save and load: FILE.tar or FILE.tar.gz.")
    ] = None,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """List what environments start from, build images, or carry them to a machine that can build none.

    Example: labdock images build golden-cpu
    """
    wanted = names or []
    if action is Action.LIST:
        _list(as_json)
    elif action is Action.BUILD:
        _tell(_build(wanted, progress), as_json, "built")
    elif action is Action.SAVE:
        _tell(_save(wanted, _required(file), progress), as_json, "saved")
    else:
        _tell(_load(_required(file), progress), as_json, "loaded")


def _list(as_json: bool) -> None:
    with options.lab() as lab:
        found = lab.connection.call("GET", "/api/images")
    if as_json:
        show_json(found)
        return
    rows = [{**row, "limits": {k: v for k, v in (row.get("limits") or {}).items() if v}} for row in found]
    show_table(rows, COLUMNS, empty="No runtime has images: the runtime local needs none.")


def _tell(what: list[str], as_json: bool, verb: str) -> None:
    show_json({verb: what}) if as_json else say(f"{verb.capitalize()}: {', '.join(what)}.")


def _required(file: Path | None) -> Path:
    if file is None:
        raise InvalidOptions("No file is named.", remedy="Add --file FILE.tar (or .tar.gz).", option="--file")
    return file


def _build(names: list[str], progress: bool | None) -> list[str]:
    script = _script()
    last: list[str] = []
    with Activity("Building", progress) as activity:
        command = ["bash", str(script), *names]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            for line in process.stdout or ():
                activity.say(line)
                last = [*last, line.rstrip()][-LAST_LINES:]
                if line.startswith("==>") and not activity.enabled:
                    note(line.removeprefix("==> ").rstrip())
    if process.returncode != 0:
        raise LaunchError("The image could not be built.", remedy="See the lines above, and docs/images.md.", log=last)
    return names or ["golden-cpu"]


def _script() -> Path:
    """`images/build.sh` of the checkout that this program, or the shell, is in."""
    for folder in (Path(__file__).parents[3], Path.cwd(), *Path.cwd().parents):
        script = folder / "images" / "build.sh"
        if script.is_file() and (folder / "pyproject.toml").is_file():
            return script
    raise StorageError(
        "Images are built from a checkout of Labdock, and this is none.",
        remedy="Change into one; or load an image that was saved elsewhere: labdock images load --file FILE.",
    )


def _docker(*arguments: str) -> str:
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeUnavailable("The docker command is missing.", remedy="Install Docker's client.") from None
    if done.returncode != 0:
        raise RuntimeUnavailable(f"docker {arguments[0]}: {done.stderr.strip()}", remedy="Is the engine running?")
    return done.stdout


def _references(names: list[str]) -> dict[str, str]:
    """The engine's reference of each named image; all built ones without names."""
    ids = set(_docker("image", "ls", "--filter", f"label={LABEL}", "--format", "{{.ID}}").split())
    found: dict[str, str] = {}
    for image in json.loads(_docker("image", "inspect", *ids)) if ids else []:
        tags = [tag for tag in image.get("RepoTags") or [] if tag.endswith(":latest")] or image.get("RepoTags") or []
        if tags:
            found[image["Config"]["Labels"][LABEL]] = tags[0]
    missing = [name for name in names if name not in found]
    if missing or not found:
        raise ImageMissing(
            f"The engine has no image {', '.join(missing)}." if missing else "The engine has no image of Labdock's.",
            remedy=f"Build it: labdock images build {' '.join(missing)}".rstrip()
            + (f". It has: {', '.join(sorted(found))}." if found else ""),
            images=sorted(found),
        )
    return {name: found[name] for name in names or sorted(found)}


def _save(names: list[str], file: Path, progress: bool | None) -> list[str]:
    wanted = _references(names)
    sizes = json.loads(_docker("image", "inspect", *wanted.values()))
    total = sum(int(image["Size"]) for image in sizes)
    partial = file.with_name(file.name + ".part")
    try:
        with (
            _process(["docker", "save", *wanted.values()], stdout=subprocess.PIPE) as process,
            _writable(partial, compressed=file.suffix == ".gz") as target,
        ):
            _copy(process.stdout, target, total, f"Saving {', '.join(wanted)}", progress)
        partial.replace(file)
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {error.strerror}.", remedy="Choose another place.") from None
    finally:
        partial.unlink(missing_ok=True)
    return list(wanted)


def _load(file: Path, progress: bool | None) -> list[str]:
    try:
        total = file.stat().st_size
        with (
            file.open("rb") as source,
            _process(["docker", "load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        ):
            _copy(source, process.stdin, total, f"Loading {file.name}", progress)
            if process.stdin:
                process.stdin.close()
            said = (process.stdout.read() if process.stdout else b"").decode()
    except OSError as error:
        raise StorageError(
            f"{file} cannot be read: {error.strerror}.", remedy="Name a file from images save."
        ) from None
    return [line.partition(": ")[2].strip() for line in said.splitlines() if line.startswith("Loaded image")]


@contextmanager
def _process(command: list[str], **pipes: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A program whose failure is an error."""
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, **pipes)  # type: ignore[call-overload]
    except FileNotFoundError:
        raise RuntimeUnavailable("The docker command is missing.", remedy="Install Docker's client.") from None
    with process:
        with suppress(BrokenPipeError):  # it ended early; its own words say why
            yield process
        said = process.stderr.read().decode().strip()
        if process.wait() != 0:
            raise LaunchError(f"{' '.join(command[:2])} failed: {said}", remedy="See `docker info`.")


@contextmanager
def _writable(path: Path, *, compressed: bool) -> Iterator[Any]:
    """A new file. gzip's level 1: layers are mostly shared libraries, and more takes minutes for a few percent."""
    with path.open("wb") as file:
        if not compressed:
            yield file
            return
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
            yield packed


def _copy(source: IO[bytes] | None, target: IO[bytes] | None, total: int, title: str, progress: bool | None) -> None:
    if source is None or target is None:
        return
    done = 0
    with Activity(title, progress) as activity:
        while block := source.read(BLOCK):
            target.write(block)
            done += len(block)
            activity.say(f"{done / 1e6:,.0f} MB")
            activity.at(min(1.0, done / max(total, 1)))
