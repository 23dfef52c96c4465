"""What an environment can start from: the images defined by `images/*/image.toml`.

The definitions are the allow-list: a runtime starts nothing else. They ship with the wheel; a site adds its own in
`LABDOCK_HOME/images/<name>/image.toml` (or in folders of the setting `image_folders`), and one of the same name
replaces the shipped one.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labdock.errors import InvalidName, InvalidOptions
from labdock.names import check_name, nearest
from labdock_controller.runtimes.base import Limits

DEFINITION = "image.toml"
# In a checkout `images/` lies at its root; in a wheel beside this file.
SHIPPED = (Path(__file__).parents[2] / "images", Path(__file__).parent / "image_definitions")
_KEYS = {"name", "title", "description", "reference", "gpu", "limits"}


@dataclass(frozen=True)
class Image:
    """One definition. `reference` is what the engine knows it by, a tag or a digest."""

    name: str
    title: str
    description: str
    reference: str
    gpu: bool = False
    limits: Limits = field(default_factory=Limits)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_image(path: Path) -> Image:
    """The definition in one file. Raises `InvalidOptions` that names the file and the key."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        name = check_name(found.get("name", path.parent.name), "image")
        unknown = sorted(set(found) - _KEYS)
        if unknown:
            raise ValueError(f"unknown key {unknown[0]!r}{_hint(unknown[0])}")
        limits = Limits(**found.get("limits", {}))
        texts = {key: str(found.get(key, "")) for key in ("title", "description", "reference")}
        return Image(
            name=name,
            title=texts["title"] or name,
            description=texts["description"],
            reference=texts["reference"] or f"labdock/{name}:latest",
            gpu=bool(found.get("gpu", False)),
            limits=limits,
        )
    except (OSError, ValueError, TypeError, InvalidName) as error:
        raise InvalidOptions(
            f"{path} does not define an image: {error}.",
            remedy="See docs/images.md for its keys, or copy images/minimal-cpu/image.toml.",
            path=str(path),
        ) from None


def known_images(folders: Iterable[Path] = ()) -> dict[str, Image]:
    """All images by name, sorted; those of a later folder replace shipped ones of the same name."""
    found: dict[str, Image] = {}
    for folder in (*SHIPPED, *folders):
        for path in sorted(folder.glob(f"*/{DEFINITION}")):
            image = read_image(path)
            found[image.name] = image
    return dict(sorted(found.items()))


def _hint(key: str) -> str:
    best = nearest(key, _KEYS)
    return f" (did you mean {best!r}?)" if best else ""
