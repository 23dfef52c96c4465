"""Administration: users, roles, tokens, settings, the audit log, checks and versions, each at its own address."""

import asyncio
import importlib.metadata
import platform
import sqlite3
import sys
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

import labdock
from labdock_controller.access.rights import CAPABILITIES, ROLES, SIGNED_IN, Principal
from labdock_controller.dashboard.page import page
from labdock_controller.doctor import examine
from labdock_controller.effective_settings import effective
from labdock_controller.services import Services
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/administration", tags=["dashboard"])
PER_PAGE = 50
TABS = (
    ("tokens", "Tokens", SIGNED_IN),
    ("roles", "Roles", SIGNED_IN),
    ("users", "Users", "manage_users"),
    ("audit", "Audit", "manage_users"),
    ("quotas", "Quotas", "configure"),
    ("settings", "Settings", "configure"),
    ("doctor", "Doctor", "configure"),
    ("versions", "Versions", "list_environments"),
)
PACKAGES = (
    "fastapi", "uvicorn", "sqlalchemy", "pyarrow", "duckdb", "onnxruntime", "onnx", "docker", "kubernetes",
    "jupyterlab", "scikit-learn", "pandas", "numpy",
)  # fmt: skip


def tabs(principal: Principal, here: str) -> list[tuple[str, str, bool]]:
    """The parts that this user may open."""
    return [
        (title, f"/administration/{key}", key == here)
        for key, title, capability in TABS
        if capability == SIGNED_IN or capability in principal.capabilities
    ]


def shown(request: Request, principal: Principal, key: str, **values: Any) -> Response:
    title = next(title for name, title, _ in TABS if name == key)
    return page(
        request,
        f"administration/{key}.html",
        here="administration",
        title=title,
        parts=tabs(principal, key),
        capabilities=CAPABILITIES,
        roles=ROLES,
        **values,
    )


@router.get("")
@needs(SIGNED_IN)
async def administration(principal: Me) -> Response:
    """The first part that one may open: users for those who manage them, else one's tokens."""
    part = "users" if "manage_users" in principal.capabilities else "tokens"
    return RedirectResponse(f"/administration/{part}", 303)


@router.get("/users")
@needs("manage_users")
async def users(services: Here, principal: Me, request: Request) -> Response:
    """Everybody, with roles."""
    everybody = await asyncio.to_thread(services.users.all)
    return shown(request, principal, "users", users=everybody)


@router.get("/roles")
@needs(SIGNED_IN)
async def roles(principal: Me, request: Request) -> Response:
    """What each role may do."""
    return shown(request, principal, "roles")


@router.get("/tokens")
@needs(SIGNED_IN)
async def tokens(services: Here, principal: Me, request: Request, everybody: bool = False) -> Response:
    """One's own; with `everybody` all, for those who manage users."""
    every = everybody and "manage_users" in principal.capabilities
    found = await asyncio.to_thread(services.tokens.of, None if every else principal.user_id)
    return shown(request, principal, "tokens", tokens=found, everybody=every)


@router.get("/quotas")
@needs("configure")
async def quotas(services: Here, principal: Me, request: Request) -> Response:
    """How much running environments of one user may take together."""
    found = await asyncio.to_thread(services.quotas.all)
    default = services.settings.environments_per_user
    return shown(request, principal, "quotas", quotas=found, default=default)


@router.get("/settings")
@needs("configure")
async def settings(services: Here, principal: Me, request: Request) -> Response:
    """What the controller runs with, and the default settings."""
    return shown(
        request,
        principal,
        "settings",
        effective=await asyncio.to_thread(effective, services.settings),
        settings=services.default_settings.all(),
    )


@router.get("/audit")
@needs("manage_users")
async def audit(
    services: Here,
    principal: Me,
    request: Request,
    user: Annotated[str, Query(max_length=64)] = "",
    action: Annotated[str, Query(max_length=200)] = "",
    failed: bool = False,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> Response:
    """Who changed what, the newest first."""
    found = await asyncio.to_thread(services.audit.newest, PER_PAGE + 1, user or None, before, action, failed)
    entries, more = found[:PER_PAGE], len(found) > PER_PAGE
    query = {k: v for k, v in (("user", user), ("action", action), ("failed", "true" if failed else "")) if v}
    older = f"/administration/audit?{urlencode({**query, 'before': entries[-1]['id']})}" if more else ""
    newest = "/administration/audit" + (f"?{urlencode(query)}" if query else "") if before is not None else ""
    asked = {"user": user, "action": action, "failed": failed}
    return shown(request, principal, "audit", entries=entries, older=older, newest=newest, asked=asked)


@router.get("/doctor")
@needs("configure")
async def doctor(principal: Me, request: Request) -> Response:
    """The frame of the checks; they take seconds, so the page asks for them once it stands."""
    return shown(request, principal, "doctor", findings=None)


@router.get("/doctor/checks")
@needs("configure")
async def checks(services: Here, principal: Me, request: Request) -> Response:
    """What `labdock doctor` says."""
    found = await asyncio.to_thread(examine, services.settings, services.launcher.runtimes)
    return shown(request, principal, "doctor", findings=found)


@router.get("/versions")
@needs("list_environments")
async def versions(services: Here, principal: Me, request: Request) -> Response:
    """What runs here, in which version."""
    return shown(request, principal, "versions", components=await asyncio.to_thread(components, services))


def components(services: Services) -> list[tuple[str, str, str]]:
    """Name, version and what it is for, as far as it is installed."""
    found = [
        ("Labdock", labdock.__version__, ""),
        ("Python", platform.python_version(), sys.executable),
        ("System", platform.platform(terse=True), platform.machine()),
        (
            services.store.url.get_backend_name(),
            sqlite3.sqlite_version if "sqlite" in str(services.store.url) else "",
            "store",
        ),
    ]
    for name in PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name), ""))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
