"""Signing in and out with a browser; the page for it is `dashboard/pages/sign_in.py`, `GET /sign-in` included."""

from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import RedirectResponse, Response

from labdock.errors import Unauthenticated
from labdock_controller.access.rights import OPEN, SIGNED_IN
from labdock_controller.access.tokens import TICKET_SECONDS
from labdock_controller.services import Services
from labdock_controller.web.attempts import Attempts
from labdock_controller.web.guard import needs, session_cookie
from labdock_controller.web.state import Here, Me

router = APIRouter(tags=["session"])
attempts = Attempts()


class Link(BaseModel):
    """`next` is the page that the link leads to, a path of this controller."""

    model_config = ConfigDict(extra="forbid")
    next: str = "/"


class Ticket(BaseModel):
    url: str
    expires_in: int


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    user: str
    password: str
    next: str = "/"


def redeem(services: Services, ticket: str, target: str) -> Response:
    """Use a one-time link: sets the session's cookie and leads to `target`."""
    _, secret = services.tokens.redeem_ticket(ticket, services.settings.session_hours)
    return signed_in(services, secret, target)


@router.post("/sign-in", status_code=303, response_class=RedirectResponse)
@needs(OPEN)
def password(services: Here, request: Request, body: SignIn) -> Response:
    """Sign in with name and password."""
    return signed_in(services, open_session(services, request, body), body.next)


def open_session(services: Services, request: Request, body: SignIn) -> str:
    """Check name and password; gives the session's secret. Blocks for as long as the hash takes."""
    address = request.client.host if request.client else ""
    attempts.check(body.user, address)
    user = services.users.check_password(body.user, body.password)
    if user is None:
        attempts.failed(body.user, address)
        raise Unauthenticated("Name or password is wrong.", remedy="Try again, or ask an administrator for a new one.")
    attempts.worked(body.user, address)
    return services.tokens.open_session(user.id, services.settings.session_hours)


@router.post("/api/tickets", status_code=201)
@needs(SIGNED_IN)
def ticket(services: Here, principal: Me, request: Request, link: Link | None = None) -> Ticket:
    """A one-time sign-in link for the caller's browser; it gives no more than the caller's own token does."""
    secret = services.tokens.issue_ticket(principal.user_id, principal.capabilities)
    target = same_site(link.next if link else "/")
    return Ticket(url=sign_in_link(services, secret, target, str(request.base_url)), expires_in=TICKET_SECONDS)


@router.post("/api/sign-out", status_code=204, response_class=Response)
@needs(SIGNED_IN)
def sign_out(services: Here, principal: Me) -> Response:
    """End the session that asks."""
    if principal.via == "session":
        services.tokens.close_session(principal)
    answer = Response(status_code=204)
    answer.delete_cookie(session_cookie(services.settings), path="/")
    return answer


def sign_in_link(services: Services, secret: str, target: str = "/", seen_as: str = "") -> str:
    """The address to open in a browser. `seen_as` is how the caller reached the controller."""
    settings = services.settings
    base = settings.public_url or (seen_as if seen_as and _by_tcp(services, seen_as) else services.url)
    return f"{base.rstrip('/')}/sign-in?ticket={secret}" + (f"&next={quote(target)}" if target != "/" else "")


def _by_tcp(services: Services, address: str) -> bool:
    """Whether the caller came by the TCP address; over the Unix socket Host says nothing."""
    return urlsplit(address).port == urlsplit(services.url).port


def same_site(target: str) -> str:
    """`target` if it is a path of this controller, else `/`: a link must not lead elsewhere."""
    plain = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if plain and target.isprintable() and len(target) <= 2000 else "/"


def signed_in(services: Services, secret: str, target: str) -> Response:
    answer = RedirectResponse(same_site(target), 303)
    settings = services.settings
    answer.set_cookie(
        session_cookie(settings),
        secret,
        max_age=int(settings.session_hours * 3600),
        path="/",
        secure=settings.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer
