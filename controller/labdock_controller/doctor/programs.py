"""Versions, files that ship with us, limits of processes, the clock."""

import platform
import resource
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import labdock
from labdock_controller.finding import Finding, Health
from labdock_controller.settings import Settings

# What each runtime needs besides the controller: a package that tells whether an extra is installed.
EXTRAS = {"local": ("supervisor", "jupyterlab"), "docker": ("docker",), "kubernetes": ("kubernetes",)}
LOWEST_PYTHON = (3, 11)
FILES = 4096
RELEASED = 1_764_000_000.0  # no clock may be before this code
ASSETS = Path(__file__).parents[1] / "dashboard" / "static"
NEEDED = ("labdock.css", "js/labdock.js", "vendor/htmx.min.js")


def versions(settings: Settings) -> Iterator[Finding]:
    """Python, Labdock, and the packages of the default runtime."""
    found = (
        f"Labdock {labdock.__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    )
    old = sys.version_info[:2] < LOWEST_PYTHON
    remedy = f"Use Python {LOWEST_PYTHON[0]}.{LOWEST_PYTHON[1]} or newer." if old else ""
    yield Finding("versions", "Versions", Health.ERROR if old else Health.OK, found, remedy)
    missing = [name for name in EXTRAS.get(settings.runtime, ()) if not _installed(name)]
    if missing:
        extra = "container,jupyter" if settings.runtime == "local" else settings.runtime
        said = f"the runtime {settings.runtime} needs {', '.join(missing)}"
        yield Finding("packages", "Packages", Health.ERROR, said, f'pip install "labdock[{extra}]"')
    else:
        yield Finding("packages", "Packages", Health.OK, f"all there for the runtime {settings.runtime}")


def browser_assets(_: Settings) -> Iterator[Finding]:
    """The dashboard's scripts and styles are in the installation: no page loads anything from elsewhere."""
    title = "Files for browsers"
    missing = [name for name in NEEDED if not (ASSETS / name).is_file() or not (ASSETS / name).stat().st_size]
    if missing:
        remedy = "Install Labdock again; in a checkout: python tools/assets.py"
        yield Finding("browser-assets", title, Health.ERROR, f"missing: {', '.join(missing)}", remedy)
    else:
        count = sum(path.is_file() for path in ASSETS.rglob("*"))
        yield Finding("browser-assets", title, Health.OK, f"{count} files of the dashboard")


def open_files(_: Settings) -> Iterator[Finding]:
    """Every environment and browser costs descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft < FILES
    remedy = (
        f"ulimit -n {max(FILES, min(hard, 65_536))} before `labdock up`, or LimitNOFILE in its unit." if few else ""
    )
    state = Health.WARNING if few else Health.OK
    yield Finding("open-files", "Open files", state, f"at most {soft:,} in one process", remedy)


def clock(settings: Settings) -> Iterator[Finding]:
    """Sign-in links, tokens and schedules depend on it; files of the home tell if it went back."""
    now = time.time()
    title, remedy = "Clock", "Set the machine's clock (timedatectl set-ntp true)."
    if now < RELEASED:
        yield Finding("clock", title, Health.ERROR, f"it says {time.ctime(now)}, before this version was made", remedy)
        return
    newest = max((p.stat().st_mtime for p in settings.home.glob("*") if p.exists()), default=0.0)
    if newest > now + 60:
        found = f"files in {settings.home} are {newest - now:,.0f} s in the future: it went back"
        yield Finding("clock", title, Health.WARNING, found, remedy)
    else:
        yield Finding("clock", title, Health.OK, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
