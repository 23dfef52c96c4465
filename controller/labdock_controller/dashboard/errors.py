"""Errors as pages, for people: what happened, what to do, and who can grant what is missing."""

from urllib.parse import quote

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from labdock.errors import Forbidden, LabdockError, Unauthenticated
from labdock_controller.access.rights import CAPABILITIES, holders
from labdock_controller.dashboard.page import page

TITLES = {403: "Not allowed", 404: "Not found", 409: "Not now", 429: "Too many requests", 503: "Not available"}
APIS = ("/api/", "/services/", "/v2")


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a person looks at the answer: a browser's navigation, or a part of a page that htmx asks for."""
    if connection.scope["type"] != "http" or connection.scope["path"].startswith(APIS):
        return False
    return connection.headers.get("hx-request") == "true" or "text/html" in connection.headers.get("accept", "")


def error_page(connection: HTTPConnection, error: LabdockError, status: int, request_id: str) -> Response | None:
    """The error as a page or a way to sign in; None where the caller is a program."""
    if not wants_page(connection):
        return None
    by_htmx = connection.headers.get("hx-request") == "true"
    if isinstance(error, Unauthenticated) and connection.scope["path"] != "/sign-in":
        return to_sign_in(connection, by_htmx=by_htmx)
    capability = str(error.details.get("capability", "")) if isinstance(error, Forbidden) else ""
    answer = page(
        connection,
        "error.html",
        here="",
        title=TITLES.get(status, "Something went wrong" if status >= 500 else "Not possible"),
        status=status,
        error=error,
        code=status,
        request_id=request_id,
        capability=capability,
        meaning=CAPABILITIES.get(capability, ""),
        roles=holders(capability) if capability else [],
    )
    if by_htmx:
        # A part of a page is not replaced by an error: the page says it beside what it shows.
        answer.headers["HX-Reswap"] = "none"
        answer.headers["Labdock-Problem"] = quote(f"{error.message} {error.remedy}".strip()[:1000])
    return answer


def to_sign_in(connection: HTTPConnection, *, by_htmx: bool) -> Response:
    """Sign in and come back to the page that is open: for a part of a page that is the page around it."""
    asked = connection.scope["path"]
    if query := connection.scope.get("query_string"):
        asked += "?" + query.decode("latin-1")
    if by_htmx:
        shown = connection.headers.get("hx-current-url", "")
        asked = "/" + shown.split("/", 3)[3] if shown.count("/") >= 3 else asked
    target = f"/sign-in?next={quote(asked, safe='')}"
    if by_htmx:
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)
