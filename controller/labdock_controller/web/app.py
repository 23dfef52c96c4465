"""Puts the application together: routes, the door, problem details, and a guard before each route."""

import copy

from fastapi import FastAPI
from starlette.routing import BaseRoute

import labdock
from labdock_controller import dashboard
from labdock_controller.dashboard.errors import error_page
from labdock_controller.door.routes import Door
from labdock_controller.door.routes import routes as door_routes
from labdock_controller.services import Services
from labdock_controller.web import problems
from labdock_controller.web.context import Context
from labdock_controller.web.door_host import ControllerHost
from labdock_controller.web.guard import needs, protect
from labdock_controller.web.routes import (
    alerts,
    audit,
    collector,
    data,
    editor,
    environments,
    events,
    inference,
    lab,
    model_versions,
    models,
    previews,
    quotas,
    results,
    searches,
    session,
    settings,
    system,
    tokens,
    users,
)

ROUTERS = (
    system,
    session,
    tokens,
    users,
    environments,
    events,
    models,
    model_versions,
    inference,
    searches,
    results,
    editor,
    data,
    previews,
    lab,
    alerts,
    audit,
    collector,
    settings,
    quotas,
)


def create_app(services: Services) -> FastAPI:
    """The application. Its state holds `services` and `door`; whoever serves it closes both."""
    app = FastAPI(
        title="Labdock",
        version=labdock.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.door = Door(ControllerHost(services))
    for route in app.router.routes:
        if route.path == "/api/openapi.json":  # type: ignore[attr-defined]
            needs("list_environments")(route.endpoint)  # type: ignore[attr-defined]
    # The door first: a frame pays for every route that is tried before its own.
    app.router.routes.extend(door_routes(app.state.door))
    for router in (*(module.router for module in ROUTERS), *dashboard.ROUTERS):
        # Copies: the guards put before them belong to this application, not to the module.
        app.router.routes.extend(copy.copy(route) for route in router.routes)
    problems.install(app, error_page)
    protect(all_routes(app), services)
    app.add_middleware(Context, settings=services.settings)
    return app


def all_routes(app: FastAPI) -> list[BaseRoute]:
    """Every route, mount and WebSocket there is."""
    return list(app.router.routes)
