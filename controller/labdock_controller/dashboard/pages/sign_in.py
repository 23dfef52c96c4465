"""Signing in with a name and a password; a one-time link comes by `web/routes/session.py`."""

import asyncio
from typing import Annotated
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from labdock.errors import LabdockError
from labdock_controller.access.rights import OPEN
from labdock_controller.dashboard.errors import wants_page
from labdock_controller.dashboard.page import page
from labdock_controller.web.guard import needs, session_cookie
from labdock_controller.web.problems import status_of
from labdock_controller.web.routes.session import SignIn, open_session, redeem, same_site, signed_in
from labdock_controller.web.state import Here

router = APIRouter(tags=["dashboard"])


def sign_in_page(request: Request, target: str, *, user: str = "", error: LabdockError | None = None) -> Response:
    """The form; with `error` above it after a failed try."""
    status = status_of(error) if error else 200
    answer = page(
        request,
        "sign_in.html",
        here="",
        title="Sign in",
        status=status,
        next=same_site(target),
        user=user,
        error=error,
        provider=_provider(request, target),
    )
    if error is None and session_cookie(request.app.state.services.settings) in request.cookies:
        # It is of no use any more, or nobody would be here.
        answer.delete_cookie(session_cookie(request.app.state.services.settings), path="/")
    return answer


def _provider(request: Request, target: str) -> dict[str, str] | None:
    """The further way in: what it is called, and the button's address."""
    services = request.app.state.services
    if services.provider is None:
        return None
    query = f"?next={quote(same_site(target))}" if same_site(target) != "/" else ""
    return {"title": services.settings.oidc_title, "address": f"/sign-in/provider{query}"}


@router.get("/sign-in", response_class=Response)
@needs(OPEN)
def show(
    services: Here,
    request: Request,
    ticket: Annotated[str, Query(max_length=100)] = "",
    next: Annotated[str, Query(max_length=4000)] = "/",  # noqa: A002
) -> Response:
    """With `ticket`, a one-time link: sets the session's cookie and leads to `next`. Without, the form."""
    if ticket:
        try:
            return redeem(services, ticket, next)
        except LabdockError as error:
            if not wants_page(request):
                raise
            return sign_in_page(request, next, error=error)
    if request.state.principal is not None:
        return RedirectResponse(same_site(next), 303)
    return sign_in_page(request, next)


@router.post("/sign-in/form", response_class=Response)
@needs(OPEN, max_body=16_384)
async def sign_in(services: Here, request: Request) -> Response:
    """The form's own way in, which needs no script."""
    given = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    value = {name: values[0] for name, values in given.items()}
    asked = SignIn(user=value.get("user", ""), password=value.get("password", ""), next=value.get("next", "/"))
    try:
        secret = await asyncio.to_thread(open_session, services, request, asked)
    except LabdockError as error:
        return sign_in_page(request, asked.next, user=asked.user, error=error)
    return signed_in(services, secret, asked.next)
