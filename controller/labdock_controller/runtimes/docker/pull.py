"""Making an image present: found on the engine, or pulled with progress by layer."""

import time
from collections.abc import Iterable
from typing import Any

from labdock.errors import ImageMissing, RuntimeUnavailable
from labdock.names import nearest
from labdock_controller.images import Image
from labdock_controller.runtimes.base import Progress
from labdock_controller.runtimes.docker import sdk as docker
from labdock_controller.runtimes.docker.engine import Engine
from labdock_controller.runtimes.docker.errors import translate, translated

INTERVAL = 0.1  # seconds between two events of a layer whose status is the same


def definition(name: str, known: dict[str, Image]) -> Image:
    """The definition of `name`. Raises `ImageMissing` that names the known ones."""
    image = known.get(name)
    if image is None:
        best = nearest(name, known)
        there_is = ", ".join(known) or "none"
        raise ImageMissing(
            f"There is no image named {name!r}.",
            remedy=(f"Did you mean {best!r}? " if best else "") + f"Images: {there_is}.",
            name=name,
            nearest=best,
            images=list(known),
        )
    return image


def image_id(engine: Engine, image: Image) -> str | None:
    """The digest of the image on the engine, or None."""
    with translated():
        try:
            found: str = engine.api.inspect_image(image.reference)["Id"]
        except docker.errors.ImageNotFound:
            return None
    return found


def present_id(engine: Engine, image: Image, known: dict[str, Image]) -> str:
    """The digest of the image on the engine. Raises `ImageMissing` that names those that are there."""
    found = image_id(engine, image)
    if found is None:
        raise _missing(engine, image, known, "it is not on the engine")
    return found


def pull(engine: Engine, image: Image, known: dict[str, Image], progress: Progress) -> None:
    """Pull it. `progress` hears `{phase, image, layer, status, current, total, layers, layers_done}`.

    Raises `ImageMissing` that names the images which are there.
    """
    layers: dict[str, bool] = {}
    told: dict[str, tuple[str, float]] = {}
    try:
        repository, tag = _split(image.reference)
        for line in engine.api.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in line:
                raise _missing(engine, image, known, str(line["error"]))
            event = layer_event(line, layers)
            if event is not None and _is_news(event, told):
                progress({"phase": "pulling", "image": image.name, **event})
    except (docker.errors.NotFound, docker.errors.APIError) as error:
        translation = translate(error)
        if isinstance(translation, RuntimeUnavailable):
            raise translation from error
        raise _missing(engine, image, known, str(error.explanation or error)) from error
    except ImageMissing:
        raise
    except Exception as error:
        raise translate(error) from error
    progress({"phase": "ready", "image": image.name, "layers": len(layers), "layers_done": len(layers)})


def layer_event(line: dict[str, Any], layers: dict[str, bool]) -> dict[str, Any] | None:
    """One line of the engine's pull stream as progress; `layers` remembers which layers are complete."""
    layer, status = line.get("id"), str(line.get("status", ""))
    if not layer or status.startswith("Pulling from"):
        return None
    layers[layer] = layers.get(layer, False) or status in {"Pull complete", "Already exists"}
    detail = line.get("progressDetail") or {}
    return {
        "layer": layer,
        "status": status,
        "current": detail.get("current"),
        "total": detail.get("total"),
        "layers": len(layers),
        "layers_done": sum(layers.values()),
    }


def _is_news(event: dict[str, Any], told: dict[str, tuple[str, float]]) -> bool:
    """Whether a layer's event differs in more than a few bytes from the last one that was told."""
    status, when = told.get(event["layer"], ("", 0.0))
    now = time.monotonic()
    if status == event["status"] and now - when < INTERVAL:
        return False
    told[event["layer"]] = (event["status"], now)
    return True


def _split(reference: str) -> tuple[str, str | None]:
    """`name`, `name:tag`, `name@digest` in docker-py's two arguments; never all tags of a name."""
    if "@" in reference:
        repository, digest = reference.split("@", 1)
        return repository, digest
    repository, colon, tag = reference.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (reference, "latest")


def _missing(engine: Engine, image: Image, known: Iterable[str], why: str) -> ImageMissing:
    images = known if isinstance(known, dict) else {}
    present = [name for name, other in images.items() if image_id(engine, other) is not None]
    have = f"On the engine: {', '.join(present)}." if present else "No image is on the engine yet."
    return ImageMissing(
        f"The image {image.name!r} ({image.reference}) cannot be had: {why.strip().rstrip('.')}.",
        remedy=f"Build it: labdock images build {image.name}. {have}",
        name=image.name,
        images=present,
    )
