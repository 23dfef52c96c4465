"""Signing in through an identity provider, there and back again; and out, at the provider too."""

import html
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from labdock.errors import LabdockError, NotFound
from labdock_controller.access.rights import OPEN
from labdock_controller.audit import Entry
from labdock_controller.dashboard.errors import wants_page
from labdock_controller.dashboard.pages.sign_in import sign_in_page
from labdock_controller.services import Services
from labdock_controller.web.guard import needs, session_cookie
from labdock_controller.web.problems import request_id, status_of
from labdock_controller.web.routes.session import same_site, signed_in
from labdock_controller.web.state import Here

if TYPE_CHECKING:
    from labdock_controller.access.provider import Provider

router = APIRouter(tags=["session"])
PATH = "/sign-in/provider"
BACK = f"{PATH}/back"
COOKIE = "labdock_sign_in"
MINUTES = 10
QUERY = 4096


@router.get(PATH, response_class=RedirectResponse)
@needs(OPEN)
def there(
    services: Here,
    request: Request,
    next: Annotated[str, Query(max_length=4000)] = "/",  # noqa: A002
) -> Response:
    """Lead to the provider's sign-in page."""
    provider = _provider(services)
    base = services.settings.public_url or str(request.base_url)
    try:
        address, secret = provider.begin(f"{base.rstrip('/')}{BACK}", same_site(next))
    except LabdockError as error:
        return _failed(request, services, error, next)
    answer = RedirectResponse(address, 303)
    secure = services.settings.scheme == "https"
    # Lax: the way back begins at the provider.
    answer.set_cookie(
        COOKIE, secret, max_age=MINUTES * 60, path=PATH, secure=secure, httponly=True, samesite="lax"
    )  # fmt: skip
    return answer


@router.get(BACK, response_class=HTMLResponse)
@needs(OPEN)
def back(services: Here, request: Request, state: Annotated[str, Query(max_length=200)] = "") -> Response:
    """The provider's answer: signs the browser in, or says why not."""
    provider = _provider(services)
    said = {name: value for name, value in request.query_params.items() if len(value) <= QUERY}
    try:
        identity, target = provider.finish(state, request.cookies.get(COOKIE, ""), said)
        user = services.users.from_provider(identity.subject, identity.name, list(identity.roles))
    except LabdockError as error:
        return _failed(request, services, error, "/")
    secret = services.tokens.open_session(user.id, services.settings.session_hours)
    provider.opened(secret, identity)
    _note(request, services, user.name, 200)
    answer = signed_in(services, secret, target)
    # A redirect would still be the provider's navigation, and a browser sends no Strict cookie with it.
    page = going_to(same_site(target), "Signed in")
    page.raw_headers.extend((k, v) for k, v in answer.raw_headers if k == b"set-cookie")
    page.delete_cookie(COOKIE, path=PATH)
    return page


def _provider(services: Services) -> "Provider":
    if services.provider is None:
        raise NotFound("There is no identity provider.", remedy="See docs/access.md.", kind="provider")
    return services.provider


def going_to(address: str, title: str) -> HTMLResponse:
    """A page that goes on to `address` by itself."""
    to = html.escape(address)
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={to}">'
        f'<title>{title}</title><p>{title}. <a href="{to}">Go on</a></html>'
    )


@router.post("/sign-out", response_class=RedirectResponse)
@needs(OPEN)
def sign_out(services: Here, request: Request) -> Response:
    """The button's way out, of the provider's session too; whose session has ended gets the same page."""
    principal, cookie = request.state.principal, session_cookie(services.settings)
    onwards = None
    if principal is not None and principal.via == "session":
        services.tokens.close_session(principal)
        if services.provider is not None:
            base = services.settings.public_url or str(request.base_url)
            onwards = services.provider.sign_out(request.cookies.get(cookie, ""), f"{base.rstrip('/')}/sign-in")
    # A page and no redirect to the provider: a form of ours may lead to no other site (form-action).
    answer: Response = going_to(onwards, "Signed out") if onwards else RedirectResponse("/sign-in", 303)
    answer.delete_cookie(cookie, path="/")
    return answer


def _failed(request: Request, services: Services, error: LabdockError, target: str) -> Response:
    _note(request, services, "", status_of(error))
    if not wants_page(request):
        raise error
    answer = sign_in_page(request, target, error=error)
    answer.delete_cookie(COOKIE, path=PATH)
    return answer


def _note(request: Request, services: Services, user: str, status: int) -> None:
    """Signing in changes something, although the browser comes by GET."""
    who = request.client.host if request.client else "socket"
    services.audit.write(Entry(user, "provider", "", f"GET {request.url.path}", PATH, status, request_id(request), who))
