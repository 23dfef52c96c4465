"""Fetch the dashboard's third-party browser code and bundle it into `static/vendor/`: python tools/assets.py [--check]

What is taken is pinned by `tools/assets/package-lock.json` (npm's format); every archive is checked against its
sha512 there before it is unpacked. Nothing is done while the files are those of the lock and the entries beside it.
Needs no Node: esbuild is a program of its own. `NPM_CONFIG_REGISTRY` names a mirror, `SSL_CERT_FILE` its certificates.
"""

import base64
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

HERE = Path(__file__).parent
SOURCE = HERE / "assets"
LOCK = SOURCE / "package-lock.json"
TARGET = HERE.parent / "controller" / "labdock_controller" / "dashboard" / "static" / "vendor"
TESTING = HERE.parent / ".cache" / "assets"  # what tests inject into pages; never in the wheel
STAMP = ".lock"
BUNDLES = {
    "htmx.min.js": "htmx.js",
    "uplot.js": "uplot.js",
    "uplot.css": "uplot.css",
    "codemirror.js": "codemirror.js",
    "tabulator.js": "tabulator.js",
    "tabulator.css": "tabulator.css",
    "vega.js": "vega.js",
}
UNUSED = frozenset({"yargs"})  # vega-lite's command line
TRIES = 4


class AssetError(Exception):
    """What went wrong, and what to do about it."""


def main() -> int:
    if "--check" in sys.argv[1:]:
        return 0 if is_current() else 1
    if is_current():
        return 0
    began = time.monotonic()
    try:
        build()
    except AssetError as error:
        print(f"assets: {error}", file=sys.stderr)
        return 1
    sizes = ", ".join(f"{name} {(TARGET / name).stat().st_size / 1000:.0f} kB" for name in BUNDLES)
    print(f"assets: {sizes} in {time.monotonic() - began:.1f} s")
    return 0


def stamp() -> str:
    """The hash of all that decides what the bundles are."""
    digest = hashlib.sha256()
    for path in (Path(__file__), LOCK, *(SOURCE / name for name in sorted(BUNDLES.values()))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current() -> bool:
    there = all((TARGET / name).is_file() for name in BUNDLES) and (TESTING / "axe.min.js").is_file()
    return there and (TARGET / STAMP).is_file() and (TARGET / STAMP).read_text() == stamp()


def build() -> None:
    """Fetch, unpack, bundle; `TARGET` is replaced when everything is there."""
    packages = wanted(json.loads(LOCK.read_text()))
    with tempfile.TemporaryDirectory(prefix="labdock-assets-") as name:
        folder = Path(name)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: unpack(fetch(item[0], item[1]), folder / item[0]), packages.items()))
        made = folder / "made"
        for target, entry in BUNDLES.items():
            bundle(folder, entry, made / target)
        (made / "LICENSES.txt").write_text(licenses(folder, packages), encoding="utf-8")
        (made / STAMP).write_text(stamp())
        TESTING.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "node_modules/axe-core/axe.min.js", TESTING / "axe.min.js")
        shutil.rmtree(TARGET, ignore_errors=True)
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, TARGET)


def wanted(lock: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the bundles are made of, by folder, in the lock's own words: all but other machines' binaries."""
    packages: dict[str, dict[str, Any]] = lock["packages"]
    root = packages[""]
    found: dict[str, dict[str, Any]] = {}
    todo = [("", name) for name in (*root["dependencies"], *root["devDependencies"], esbuild_package())]
    while todo:
        inside, name = todo.pop()
        place = locate(packages, inside, name)
        if place in found:
            continue
        found[place] = packages[place]
        todo.extend((place, other) for other in packages[place].get("dependencies", {}) if other not in UNUSED)
    return dict(sorted(found.items()))


def locate(packages: dict[str, Any], inside: str, name: str) -> str:
    """The folder that `name` comes from when a module in the folder `inside` imports it: Node's rule."""
    while True:
        place = f"{inside}/node_modules/{name}".lstrip("/")
        if place in packages:
            return place
        if not inside:
            raise AssetError(f"{LOCK} lacks {name}. Run in {SOURCE}: npm install --package-lock-only --ignore-scripts")
        inside = inside.rpartition("/node_modules/")[0]


def esbuild_package() -> str:
    machines = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    system, machine = platform.system().lower(), machines.get(platform.machine(), platform.machine())
    return f"@esbuild/{system}-{machine}"


def fetch(place: str, package: dict[str, Any]) -> bytes:
    """The package's archive, from the cache or the registry, checked against the lock."""
    name = place.rpartition("node_modules/")[2]
    integrity = package["integrity"]
    kept = cache() / f"{hashlib.sha256(integrity.encode()).hexdigest()[:32]}.tgz"
    if kept.is_file() and is_intact(data := kept.read_bytes(), integrity):
        return data
    registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
    data = download(f"{registry}/{name}/-/{name.rpartition('/')[2]}-{package['version']}.tgz")
    if not is_intact(data, integrity):
        raise AssetError(
            f"{name} {package['version']} is not what {LOCK.name} says: its sha512 differs. Do not use it."
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(kept)
    return data


def cache() -> Path:
    given = os.environ.get("LABDOCK_ASSETS_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "labdock-assets"


def is_intact(data: bytes, integrity: str) -> bool:
    kind, _, digest = integrity.partition("-")
    return kind == "sha512" and base64.b64encode(hashlib.sha512(data).digest()).decode() == digest


def download(url: str) -> bytes:
    for attempt in range(TRIES):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - checked by its hash
                data: bytes = answer.read()
                return data
        except (OSError, urllib.error.URLError) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if refused or attempt == TRIES - 1:
                raise AssetError(
                    f"{url} cannot be fetched: {error}. Try again, or name a mirror in NPM_CONFIG_REGISTRY."
                ) from None
            time.sleep(2**attempt)
    raise AssertionError("unreachable")


def unpack(data: bytes, folder: Path) -> None:
    """Regular files only; the archive's first folder, whatever its name, is `folder`."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts[1:]
            if not member.isfile() or not parts or ".." in parts:
                continue
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            source = archive.extractfile(member)
            path.write_bytes(source.read() if source else b"")
            if member.mode & 0o100:
                path.chmod(0o755)


def bundle(folder: Path, entry: str, target: Path) -> None:
    program = folder / "node_modules" / esbuild_package() / "bin" / "esbuild"
    shutil.copyfile(SOURCE / entry, folder / entry)
    made = subprocess.run(
        [program, entry, "--bundle", "--minify", "--format=esm", "--target=es2022", "--legal-comments=none",
         "--define:process.env.NODE_ENV=\"production\"", "--log-level=warning", f"--outfile={target}"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise AssetError(f"{entry} cannot be bundled:\n{made.stderr}")


def licenses(folder: Path, packages: dict[str, dict[str, Any]]) -> str:
    """The notices of what is in the bundles, as their licences ask."""
    parts = []
    for place, package in packages.items():
        if package.get("dev") or package.get("devOptional"):
            continue
        texts = [p for p in sorted((folder / place).glob("*")) if p.name.lower().startswith(("license", "licence"))]
        body = "\n".join(p.read_text(encoding="utf-8", errors="replace").strip() for p in texts if p.is_file())
        name = place.rpartition("node_modules/")[2]
        parts.append(f"{name} {package['version']} ({package.get('license', 'see its page')})\n\n{body}".rstrip())
    return ("\n\n" + "-" * 72 + "\n\n").join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
