"""Modules: what the notebooks of an environment offer to searches and clients, what is wrong with them, what ran."""

import asyncio
from datetime import datetime
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from labdock.errors import LabdockError
from labdock_controller import probe
from labdock_controller.access.rights import Principal
from labdock_controller.dashboard.page import page
from labdock_controller.environments import Environment
from labdock_controller.reconcile import Status
from labdock_controller.services import Services
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/modules", tags=["dashboard"])
UNDER_WAY = ("queued", "running")
JOBS = 50
FITS = 5


@router.get("")
@needs("search")
async def modules(services: Here, principal: Me, request: Request) -> Response:
    """The modules of the environment that one most likely means: one's own that runs."""
    found = _environments(services, principal)
    if found:
        return RedirectResponse(f"/modules/{quote(found[0].name)}", 303)
    return page(request, "modules/none.html", here="modules", title="Modules")


@router.get("/{environment}")
@needs("search")
async def of_environment(services: Here, principal: Me, request: Request, environment: str) -> Response:
    """One environment's modules, with their fits, and its jobs."""
    chosen = services.environments.get(environment, principal, "search")
    asked = await asyncio.to_thread(_ask, services, chosen, "/v1/modules", "/v1/jobs")
    fits = await asyncio.to_thread(_fits, services, principal, chosen)
    controls = chosen.owner_id == principal.user_id or principal.rules_all
    return page(
        request,
        "modules/modules.html",
        here="modules",
        title="Modules",
        environment=chosen,
        address=f"/modules/{quote(chosen.name)}",
        api=f"/api/environments/{quote(chosen.name)}",
        environments=_environments(services, principal),
        modules=[_module(chosen, each, fits) for each in asked["/v1/modules"]],
        jobs=[_job(job) for job in asked["/v1/jobs"][:JOBS]],
        under_way=UNDER_WAY,
        problem=asked["problem"],
        opens_notebooks=chosen.mode == "dev" and controls and "control_environments" in principal.capabilities,
    )


@router.get("/{environment}/jobs")
@needs("search")
async def jobs(services: Here, principal: Me, request: Request, environment: str) -> Response:
    """The jobs alone, for the page to look again."""
    chosen = services.environments.get(environment, principal, "search")
    asked = await asyncio.to_thread(_ask, services, chosen, "/v1/jobs")
    return page(
        request,
        "modules/jobs.html",
        here="modules",
        title="Jobs",
        environment=chosen,
        address=f"/modules/{quote(chosen.name)}",
        api=f"/api/environments/{quote(chosen.name)}",
        jobs=[_job(job) for job in asked["/v1/jobs"][:JOBS]],
        under_way=UNDER_WAY,
        problem=asked["problem"],
    )


def _environments(services: Services, principal: Principal) -> list[Environment]:
    """Those one sees: running ones first, one's own first, by name."""
    found = services.environments.visible(principal)
    return sorted(found, key=lambda e: (e.status is not Status.RUNNING, e.owner_id != principal.user_id, e.name))


def _ask(services: Services, environment: Environment, *paths: str) -> dict[str, Any]:
    """What a running environment says; empty lists and the problem where it does not answer."""
    found: dict[str, Any] = {"problem": None, **{path: [] for path in paths}}
    try:
        endpoint = services.launcher.endpoint(environment)
        for path in paths:
            answer = probe.get_json(endpoint, path)
            found[path] = [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
    except LabdockError as error:
        found["problem"] = error
    return found


def _fits(services: Services, principal: Principal, environment: Environment) -> dict[str, list[dict[str, Any]]]:
    """The fits that are on record, by module, the newest first."""
    fits: dict[str, list[dict[str, Any]]] = {}
    for model in services.models.page(principal, kind="module")[0]:
        if model.environment_id != environment.id:
            continue
        for version in model.versions:
            fits.setdefault(version.module, []).append({"model": model.name, "version": version})
    for found in fits.values():
        found.sort(key=lambda fit: -fit["version"].created)
    return fits


def _module(environment: Environment, module: dict[str, Any], fits: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A module as the template shows it. An environment may say anything, so each part is asked for its kind."""
    name, notebook = _text(module.get("name")), _text(module.get("notebook"))
    findings = [f for f in _list(module.get("findings")) if isinstance(f, dict)]
    mine = fits.get(name, [])
    return {
        "name": name,
        "doc": _text(module.get("doc")),
        "functions": [_text(f) for f in _list(module.get("functions"))],
        "needs": {str(k): _text(v) for k, v in module["needs"].items()}
        if isinstance(module.get("needs"), dict)
        else {},
        "notebook": notebook,
        "notebook_address": f"/environments/{quote(environment.name)}/jupyter/lab/tree/{quote(notebook)}",
        "sha256": _text(module.get("sha256"))[:12],
        "exported_at": _moment(module.get("exported_at")),
        "findings": [_finding(f) for f in findings],
        "errors": sum(f.get("severity") == "error" for f in findings),
        "fits": mine[:FITS],
        "fits_in_all": len(mine),
    }


def _job(job: dict[str, Any]) -> dict[str, Any]:
    error = job.get("error")
    words = {key: _text(job.get(key)) for key in ("id", "kind", "status", "module", "model")}
    figures = {key: _figure(job.get(key)) for key in ("started", "duration", "rows")}
    said = {key: _text(error.get(key)) for key in ("message", "detail", "remedy")} if isinstance(error, dict) else None
    return {**words, **figures, "error": said}


def _figure(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _finding(finding: dict[str, Any]) -> dict[str, Any]:
    whole = {key: finding.get(key) if isinstance(finding.get(key), int) else None for key in ("cell", "line")}
    words = {key: _text(finding.get(key)) for key in ("message", "remedy", "severity", "function", "name")}
    return {**whole, **words}


def _moment(value: Any) -> float | None:
    """Epoch seconds of an ISO time or of a number."""
    if (number := _figure(value)) is not None:
        return number
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except ValueError:
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
