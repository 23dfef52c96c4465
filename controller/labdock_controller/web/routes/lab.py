"""Prepares what the lab guide expects: lookups, the index `botsv3`, the shipped ONNX models, two users."""

import asyncio
import importlib.util
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from labdock.errors import NotFound
from labdock_controller.access.rights import Principal
from labdock_controller.onnx_models import Upload
from labdock_controller.searches.rights import caller_of
from labdock_controller.services import Services
from labdock_controller.web.guard import needs
from labdock_controller.web.received import upload
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/api/lab", tags=["lab"])
MODELS = {
    "nn_botnet": "botnet",
    "credit_card_fraud": "Class",
}  # shipped model -> its target; features stand in the file
# Users with and without the upload capabilities. They have no password: an administrator hands them a sign-in link.
USERS = {"lab_modeller": ["mltk_model_admin", "power"], "lab_analyst": ["user"]}


@router.post("")
@needs("configure")
async def prepare_lab(services: Here, principal: Me) -> dict[str, Any]:
    """Make what is missing of the lab's data, models and users (with `manage_users`); what is there stays."""
    return await asyncio.to_thread(_prepare, services, principal)


def _prepare(services: Services, principal: Principal) -> dict[str, Any]:
    from labdock_search.data.lab import prepare  # noqa: PLC0415 - brings pandas

    data = _shipped()
    searches = services.searches
    prepared = prepare(searches.indexes, searches.lookups, caller_of(principal), data)
    known = {m.name for m in services.models.visible(principal) if m.kind == "onnx"}
    made = [name for name in MODELS if name not in known and _upload(services, principal, data, name)]
    return {**asdict(prepared), "models": made, "users": _make_users(services, principal)}


def _make_users(services: Services, principal: Principal) -> list[str]:
    """Names of those made now."""
    if "manage_users" not in principal.capabilities:
        return []
    known = {user.name for user in services.users.all()}
    made = [name for name in USERS if name not in known]
    for name in made:
        services.users.create(name, USERS[name])
    return made


def _upload(services: Services, principal: Principal, data: Path, name: str) -> bool:
    file = data / f"{name}.onnx"
    if not file.is_file():
        return False
    with upload(services, file.name) as copy:
        shutil.copyfile(file, copy)
        card = file.with_suffix(".md").read_text(encoding="utf-8")
        services.onnx.upload(copy, Upload(name, MODELS[name], sharing="app", card=card), principal)
    return True


def _shipped() -> Path:
    """`notebooks/data` of the installed package or of the repository; the environment's room is found, not imported."""
    spec = importlib.util.find_spec("labdock_container")
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    for folder in (package / "notebooks" / "data", package.parents[1] / "notebooks" / "data"):
        if folder.is_dir():
            return folder
    raise NotFound(
        "The lab's files are not there.", remedy="Install Labdock again.", kind="file", name="notebooks/data"
    )
