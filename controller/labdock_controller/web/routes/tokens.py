"""Personal tokens."""

import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from labdock.errors import Forbidden
from labdock_controller.access.rights import SIGNED_IN, allowed
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/api/tokens", tags=["tokens"])


class NewToken(BaseModel):
    """`capabilities` left out: everything its user may do, now and later."""

    model_config = ConfigDict(extra="forbid")
    name: str
    capabilities: list[str] | None = None
    days: float | None = Field(default=None, gt=0, le=3660, description="until it expires; left out: never")


@router.get("")
@needs(SIGNED_IN)
def tokens(services: Here, principal: Me, all: bool = False) -> list[dict[str, Any]]:  # noqa: A002
    """The caller's tokens; with `all` everybody's, for those who manage users."""
    everybody = all and allowed(principal, "manage_users")
    return [asdict(token) for token in services.tokens.of(None if everybody else principal.user_id)]


@router.post("", status_code=201)
@needs(SIGNED_IN)
def create(services: Here, principal: Me, body: NewToken) -> dict[str, Any]:
    """A new token; its secret is in this answer only. It cannot do more than the caller can right now."""
    restricted = principal.capabilities != services.users.capabilities(principal.user)
    capabilities = body.capabilities
    if restricted and capabilities is None:
        capabilities = sorted(principal.capabilities)
    beyond = set(capabilities or ()) - principal.capabilities
    if beyond:
        raise Forbidden(
            f"You lack {', '.join(sorted(beyond))} yourself.",
            remedy="Leave it out, or ask an administrator.",
            capability=min(beyond),
        )
    expires = None if body.days is None else time.time() + body.days * 86_400
    token, secret = services.tokens.create(principal.user_id, body.name, capabilities, expires)
    return {**asdict(token), "token": secret}


@router.delete("/{token}", status_code=204, response_class=Response)
@needs(SIGNED_IN)
def revoke(services: Here, principal: Me, token: str) -> Response:
    """Revoke a token by name or id; those who manage users may revoke anybody's by id."""
    mine = {known.id for known in services.tokens.of(principal.user_id)}
    others = token not in mine and allowed(principal, "manage_users") and token in _ids(services)
    services.tokens.revoke(token, None if others else principal.user_id)
    return Response(status_code=204)


def _ids(services: Here) -> set[str]:
    return {known.id for known in services.tokens.of()}
