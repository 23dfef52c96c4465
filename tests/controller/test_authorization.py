"""The authorization matrix, whole: every route, WebSocket and socket for every role, from the OpenAPI document and the
application itself, decided by the function that decides. `docs/authorization.md` is this table and must be current.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import Mount, WebSocketRoute

from labdock_controller.access.rights import (
    CAPABILITIES,
    OPEN,
    ROLES,
    SIGNED_IN,
    Principal,
    Resource,
    allowed,
    capabilities_of,
)
from labdock_controller.services import assemble
from labdock_controller.settings import Settings
from labdock_controller.store import Store
from labdock_controller.web.app import all_routes, create_app
from labdock_controller.web.guard import Guard

PAGE = Path(__file__).parents[2] / "docs" / "authorization.md"
WRITE = "LABDOCK_WRITE_DOCS"
HEAD = """# Authorization

Who may do what: every route, WebSocket and socket there is. Made from the OpenAPI document and the application by
`LABDOCK_WRITE_DOCS=1 pytest tests/controller/test_authorization.py`, which also checks that it is current; the
function that decides is `access/rights.py:decide`. `yes` is what the role's capability allows; whether an object may be
touched is the second table. Forged, revoked and expired tokens, and tokens of users who are switched off, count as
*nobody*.

"""
OBJECTS = """
## Objects: environments, models

One that may not be seen is *not found*. Controlling an environment, its JupyterLab included, counts as changing it.

"""
# ruff: noqa: E501 - a row of a table is one line
SOCKETS = """
## Sockets and folders

| | who |
| --- | --- |
| `<run>/controller.sock` | 0600 in a folder that is 0700: the controller's own user, and then a token as over TCP |
| `<run>/spool/`, `<run>/fits/` | the controller's own user |
| `<run>/<environment id>/api.sock`, `jupyter.sock` | in the controller's 0700 folder: the controller, and who runs in that environment; then the environment's token |
| `<run>/<environment id>/token` | 0600: the environment's user, and root |
| the engine's socket | the controller; in no environment |
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("authorization")
    store = Store(f"sqlite:///{folder / 's.sqlite3'}")
    store.migrate()
    store.claim(0, {})
    services = assemble(Settings(home=folder, run=folder), store, {})
    yield create_app(services)
    services.audit.close()
    store.close()


def who(role: str, user: str = "me") -> Principal:
    return Principal(user, user, (role,), capabilities_of([role]), "token", "c")


def cells(app: FastAPI) -> dict[tuple[str, str], str]:
    """Path and method of everything that the application answers, with the capability that its guard asks for."""
    found: dict[tuple[str, str], str] = {}
    for route in all_routes(app):
        guard = route.app  # type: ignore[attr-defined]
        assert isinstance(guard, Guard)
        if isinstance(route, WebSocketRoute | Mount):
            methods = {"WEBSOCKET" if isinstance(route, WebSocketRoute) else "MOUNT"}
        else:
            methods = route.methods - {"HEAD"}  # type: ignore[attr-defined]
        found |= {(route.path, method): guard.capability for method in methods}  # type: ignore[attr-defined]
    return found


def row(first: str, answers: list[bool]) -> str:
    return f"| {first} | {' | '.join('yes' if one else '-' for one in answers)} |"


def page(app: FastAPI) -> str:
    """The whole page."""
    heading = f"| | nobody | {' | '.join(ROLES)} |\n|{' --- |' * (len(ROLES) + 2)}"
    lines = [HEAD.rstrip(), "", heading.replace("| |", "| route | needs |", 1).replace("|\n|", "|\n| --- |", 1)]
    for (path, method), capability in sorted(cells(app).items()):
        answers = [allowed(None, capability), *(allowed(who(role), capability) for role in ROLES)]
        lines.append(row(f"`{method} {path}` | {capability}", answers))
    lines += [OBJECTS.rstrip(), "", "| the object is | asks | uses it | changes it |", "| --- | --- | --- | --- |"]
    lines += [
        row(f"{sharing} | {asks}", [allowed(one, "search", resource(sharing, writes)) for writes in (False, True)])
        for sharing in ("user", "app", "global", "shared with me by name")
        for asks, one in (
            ("its owner", who("user", "owner")),
            ("another user", who("user")),
            ("an admin", who("admin")),
        )
    ]
    return "\n".join([*lines, SOCKETS.rstrip(), ""])


def resource(sharing: str, writes: bool) -> Resource:
    named = frozenset({"me"}) if sharing.startswith("shared") else frozenset()
    return Resource("environment", "e", "owner", "user" if named else sharing, writes, guests=named)


def test_the_page_is_current(app: FastAPI) -> None:
    text = page(app)
    print(text)
    if os.environ.get(WRITE):
        PAGE.write_text(text)
    assert PAGE.read_text() == text, f"run: {WRITE}=1 pytest {Path(__file__).relative_to(PAGE.parents[1])}"


def test_the_matrix_knows_every_operation_of_the_openapi_document(app: FastAPI) -> None:
    operations = {
        (path, method.upper()) for path, item in app.openapi()["paths"].items() for method in item if method != "head"
    }
    known = {(path.replace(":path}", "}"), method) for path, method in cells(app)}
    assert operations <= known
    assert len(operations) > 60
    capabilities = set(cells(app).values())
    assert capabilities <= {*CAPABILITIES, OPEN, SIGNED_IN}
    assert {"manage_users", "configure", "search", "control_environments"} <= capabilities


def test_what_the_design_says_of_roles_holds_in_the_table(app: FastAPI) -> None:
    """A few cells, written down by hand: the table is not only what the code says of itself."""
    lines = {
        line.split("`")[1]: line.split(" | ")[2:]
        for line in page(app).splitlines()
        if line.startswith("| `") and "/" in line and line.count("|") > 6
    }
    for cell, yes in {
        "GET /health": {"nobody", *ROLES},
        "GET /api/environments": set(ROLES),
        "POST /api/environments": set(ROLES) - {"viewer"},
        "GET /api/users": {"admin"},
        "GET /api/settings": {"admin"},
        "GET /api/doctor": {"admin"},
        "WEBSOCKET /environments/{name}/jupyter/{rest:path}": set(ROLES) - {"viewer"},
    }.items():
        answers = dict(zip(["nobody", *ROLES], (one.strip(" |") for one in lines[cell]), strict=True))
        assert {role for role, answer in answers.items() if answer == "yes"} == yes, cell
