"""The audit log."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here

router = APIRouter(prefix="/api/audit", tags=["audit"])


@router.get("")
@needs("manage_users")
def audit(
    services: Here,
    count: Annotated[int, Query(ge=1, le=1000)] = 100,
    user: str | None = None,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    action: Annotated[str, Query(max_length=200, description="a part of the method and route or of the path")] = "",
    failed: bool = False,
) -> list[dict[str, Any]]:
    """Who did what, the newest first."""
    return services.audit.newest(count, user, before, action, failed)
