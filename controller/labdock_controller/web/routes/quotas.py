"""Quotas: how much running environments of one user may take together."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from labdock_controller.quotas import Quota
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/api", tags=["quotas"])


class QuotaBody(BaseModel):
    """Whose it is, and how much. What is left out or null is not limited from here."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["role", "user"]
    name: str = Field(max_length=64)
    environments: int | None = Field(default=None, ge=0, le=100_000)
    cpus: float | None = Field(default=None, ge=0, le=1_000_000)
    memory_mb: int | None = Field(default=None, ge=0, le=2**40)
    gpus: int | None = Field(default=None, ge=0, le=100_000)


@router.get("/quota")
@needs("list_environments")
def quota(services: Here, principal: Me) -> dict[str, Any]:
    """What holds for the caller, and what the caller's running environments take of it."""
    return services.quotas.of(principal.user_id)


@router.get("/quotas")
@needs("configure")
def quotas(services: Here) -> list[dict[str, Any]]:
    """Every quota that is set: roles', then users'."""
    return [one.view() for one in services.quotas.all()]


@router.put("/quotas")
@needs("configure")
def change(services: Here, principal: Me, body: QuotaBody) -> list[dict[str, Any]]:
    """Set a role's or a user's quota anew; an empty one removes it. What runs goes on."""
    quota = Quota(body.environments, body.cpus, body.memory_mb, body.gpus)
    return [one.view() for one in services.quotas.set(body.kind, body.name, quota, principal.user)]
