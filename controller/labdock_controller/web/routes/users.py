"""Users and their roles."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, SecretStr
from starlette.responses import Response

from labdock.errors import Unauthenticated
from labdock_controller.access.rights import SIGNED_IN
from labdock_controller.access.tokens import TICKET_SECONDS
from labdock_controller.access.users import User
from labdock_controller.web.guard import needs
from labdock_controller.web.routes.session import Ticket, attempts, sign_in_link
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/api", tags=["users"])


class NewUser(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    roles: list[str] = ["user"]
    password: SecretStr | None = None


class UserChange(BaseModel):
    model_config = ConfigDict(extra="forbid")
    roles: list[str] | None = None
    password: SecretStr | None = None
    active: bool | None = None


class PasswordChange(BaseModel):
    model_config = ConfigDict(extra="forbid")
    old: SecretStr
    new: SecretStr


def view(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "roles": list(user.roles),
        "active": user.active,
        "created": user.created,
        "has_password": user.has_password,
    }


@router.get("/users")
@needs("manage_users")
def users(services: Here) -> list[dict[str, Any]]:
    """Everybody."""
    return [view(user) for user in services.users.all()]


@router.post("/users", status_code=201)
@needs("manage_users")
def create(services: Here, body: NewUser) -> dict[str, Any]:
    """A new user, who signs in with the password or with a link from `POST /api/users/{name}/tickets`."""
    return view(services.users.create(body.name, body.roles, _secret(body.password)))


@router.get("/users/{name}")
@needs("manage_users")
def user(services: Here, name: str) -> dict[str, Any]:
    return view(services.users.get(name))


@router.patch("/users/{name}")
@needs("manage_users")
def change(services: Here, name: str, body: UserChange) -> dict[str, Any]:
    """Change roles, password, or whether the user may sign in; it works on the next request."""
    password = _secret(body.password)
    return view(services.users.change(name, roles=body.roles, password=password, active=body.active))


@router.delete("/users/{name}", status_code=204, response_class=Response)
@needs("manage_users")
def remove(services: Here, name: str) -> Response:
    services.users.remove(name)
    return Response(status_code=204)


@router.post("/users/{name}/tickets", status_code=201)
@needs("manage_users")
def ticket(services: Here, request: Request, name: str) -> Ticket:
    """A one-time sign-in link for a user, to hand over: no password needs to be invented."""
    secret = services.tokens.issue_ticket(services.users.get(name).id)
    return Ticket(url=sign_in_link(services, secret, seen_as=str(request.base_url)), expires_in=TICKET_SECONDS)


@router.put("/me/password", status_code=204, response_class=Response)
@needs(SIGNED_IN)
def own_password(services: Here, principal: Me, body: PasswordChange) -> Response:
    """Change one's own password; ends one's sessions."""
    attempts.check(principal.user, "")
    if services.users.check_password(principal.user, body.old.get_secret_value()) is None:
        attempts.failed(principal.user, "")
        raise Unauthenticated("The old password is wrong.", remedy="Ask an administrator to set a new one.")
    services.users.change(principal.user, password=_secret(body.new))
    return Response(status_code=204)


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
