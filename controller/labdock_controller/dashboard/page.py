"""Rendering a page: `return page(request, "models/list.html", here="models", title="Models", models=…)`.

Templates extend `base`, which is the whole page, or for htmx's requests its content alone; everything they print is
escaped. The policy that goes with a page allows this controller's own files and nothing inline but its stylesheets.
"""

import secrets
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response

import labdock
from labdock_controller.access.rights import Principal, allowed
from labdock_controller.dashboard import markdown, words
from labdock_controller.dashboard.navigation import ENTRIES, entries
from labdock_controller.dashboard.static import address, style, style_hashes
from labdock_controller.services import Services
from labdock_controller.web.compression import compressed

TEMPLATES = Path(__file__).parent / "templates"
THEMES = ("system", "light", "dark")
THEME_COOKIE = "labdock_theme"


@cache
def templates() -> Environment:
    """Jinja2 with autoescape for every template and an error for every name that is not there."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"static": address, "style": style, "version": labdock.__version__, "shortcuts": ENTRIES}
    made.filters |= words.FILTERS | {"markdown": markdown.html}
    return made


def page(
    connection: HTTPConnection, template: str, *, here: str, title: str, status: int = 200, **values: Any
) -> Response:
    """The answer that shows `template`. `here` is a key of the navigation (or empty), `title` the page's heading.

    `style_nonce=True` lets scripts of the page add stylesheets (CodeMirror): `document.querySelector(
    "meta[name=csp-nonce]").content` is the nonce.
    """
    nonce = secrets.token_urlsafe(16) if values.pop("style_nonce", False) else ""
    principal: Principal | None = connection.scope.get("state", {}).get("principal")
    fragment = connection.headers.get("hx-request") == "true"
    theme = connection.cookies.get(THEME_COOKIE, "system")
    text = (
        templates()
        .get_template(template)
        .render(
            base="fragment.html" if fragment else "base.html",
            here=here,
            title=title,
            me=principal,
            may=lambda capability: allowed(principal, capability),
            navigation=entries(principal),
            theme=theme if theme in THEMES else "system",
            nonce=nonce,
            path=connection.scope["path"],
            **values,
        )
    )
    return compressed(connection, HTMLResponse(text, status, headers=headers(nonce)))


def headers(nonce: str = "") -> dict[str, str]:
    styles = f"'self' {style_hashes()}" + (f" 'nonce-{nonce}'" if nonce else "")
    policy = (
        f"default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data: blob:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Vary": "Cookie, HX-Request, Accept-Encoding",
    }


def services_in(connection: HTTPConnection) -> Services:
    found: Services = connection.app.state.services
    return found
