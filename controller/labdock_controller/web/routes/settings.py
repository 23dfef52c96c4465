"""Settings: what the controller runs with, and the default settings that may be changed while it runs."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from labdock_controller.effective_settings import effective
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/api", tags=["settings"])


class Changes(BaseModel):
    """Setting to value; null is the default again."""

    model_config = ConfigDict(extra="forbid")
    values: dict[str, float | None]


@router.get("/settings")
@needs("configure")
def settings(services: Here) -> list[dict[str, Any]]:
    """Every setting of the controller, its value and where that came from; secrets are never shown."""
    return [asdict(setting) for setting in effective(services.settings)]


@router.get("/default-settings")
@needs("search")
def default_settings(services: Here) -> list[dict[str, Any]]:
    """Limits of models and modules that hold now."""
    return [asdict(setting) for setting in services.default_settings.all()]


@router.put("/default-settings")
@needs("configure")
def change(services: Here, principal: Me, body: Changes) -> list[dict[str, Any]]:
    """Change some; what is not named stays."""
    return [asdict(setting) for setting in services.change_default_settings(body.values, principal.user)]
