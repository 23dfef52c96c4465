"""Every route is guarded: each names its capability, and the matrix of roles and routes holds, cell by cell."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from fastapi import FastAPI
from starlette.routing import Mount, Route, WebSocketRoute

from labdock_controller.access.rights import CAPABILITIES, OPEN, ROLES, SIGNED_IN
from labdock_controller.services import assemble
from labdock_controller.settings import Settings
from labdock_controller.store import Store
from labdock_controller.web.app import all_routes, create_app
from labdock_controller.web.guard import UNLISTED, Guard, capability_of, needs, protect

# What docs/interfaces.md section 4 and docs/access.md promise, written down a second time on purpose.
PROMISED: dict[str, str] = {
    "GET /health": OPEN,
    "GET /sign-in": OPEN,
    "POST /services/collector": OPEN,  # these check Splunk's tokens themselves: tests/controller/test_collector_routes
    "POST /services/collector/1.0": OPEN,
    "POST /services/collector/event": OPEN,
    "POST /services/collector/event/1.0": OPEN,
    "POST /services/collector/raw": OPEN,
    "POST /services/collector/raw/1.0": OPEN,
    "POST /services/collector/ack": OPEN,
    "GET /services/collector/health": OPEN,
    "GET /services/collector/health/1.0": OPEN,
    "POST /sign-in": OPEN,
    "GET /sign-in/provider": OPEN,
    "GET /sign-in/provider/back": OPEN,
    "GET /v2/health/live": OPEN,
    "GET /v2/health/ready": OPEN,
    "POST /sign-in/form": OPEN,  # the same for the page's form
    "POST /sign-out": OPEN,  # ends the session that asks, if there is one
    "GET /static/{stamp}/{name:path}": OPEN,
    "GET /favicon.ico": OPEN,
    "GET /api/openapi.json": "list_environments",
    "GET /api/me": SIGNED_IN,
    "PUT /api/me/password": SIGNED_IN,
    "GET /api/roles": SIGNED_IN,
    "POST /api/tickets": SIGNED_IN,
    "POST /api/sign-out": SIGNED_IN,
    "GET /api/tokens": SIGNED_IN,
    "POST /api/tokens": SIGNED_IN,
    "DELETE /api/tokens/{token}": SIGNED_IN,
    "GET /api/users": "manage_users",
    "POST /api/users": "manage_users",
    "GET /api/users/{name}": "manage_users",
    "PATCH /api/users/{name}": "manage_users",
    "DELETE /api/users/{name}": "manage_users",
    "POST /api/users/{name}/tickets": "manage_users",
    "GET /api/audit": "manage_users",
    "GET /api/settings": "configure",
    "GET /api/doctor": "configure",
    "GET /api/default-settings": "search",
    "PUT /api/default-settings": "configure",
    "GET /api/quota": "list_environments",
    "GET /api/quotas": "configure",
    "PUT /api/quotas": "configure",
    "GET /api/runtimes": "list_environments",
    "GET /api/images": "list_environments",
    "GET /api/usage": "list_environments",
    "GET /api/events": "list_environments",
    "GET /api/environments": "list_environments",
    "POST /api/environments": "control_environments",
    "GET /api/outdated": "list_environments",
    "GET /api/environments/{name}": "list_environments",
    "DELETE /api/environments/{name}": "control_environments",
    "POST /api/environments/{name}/start": "control_environments",
    "POST /api/environments/{name}/stop": "control_environments",
    "POST /api/environments/{name}/restart": "control_environments",
    "POST /api/environments/{name}/extend": "control_environments",
    "PUT /api/environments/{name}/sharing": "control_environments",
    "GET /api/environments/{name}/logs": "list_environments",
    "POST /api/environments/{name}/stage": "search",
    "POST /api/environments/{name}/fit": "search",
    "POST /api/environments/{name}/apply": "search",
    "POST /api/environments/{name}/summary": "search",
    "GET /api/environments/{name}/modules": "search",
    "POST /api/environments/{name}/modules/{module}/export": "search",
    "GET /api/environments/{name}/jobs": "search",
    "GET /api/environments/{name}/jobs/{job}": "search",
    "DELETE /api/environments/{name}/jobs/{job}": "search",
    "GET /api/environments/{name}/jobs/{job}/result": "search",
    "GET /api/environments/{name}/jobs/{job}/events": "search",
    "GET /v2": "search",
    **{
        f"{method} /v2/models/{{name}}{version}{rest}": "search"
        for version in ("", "/versions/{version}")
        for method, rest in (("GET", ""), ("GET", "/ready"), ("POST", "/infer"), ("POST", "/arrow"))
    },
    "GET /api/models": "search",
    "PATCH /api/models/{name}": "search",
    "PUT /api/models/{name}/version": "search",
    "PUT /api/models/{name}/aliases/{alias}": "search",
    "DELETE /api/models/{name}/aliases/{alias}": "search",
    "GET /api/models/{name}/card": "search",
    "PUT /api/models/{name}/card": "search",
    "GET /api/models/{name}/file": "search",
    "POST /api/models/onnx": "upload_onnx_model_file",
    "POST /api/models/onnx/check": "upload_onnx_model_file",
    "GET /api/models/{name}": "search",
    "DELETE /api/models/{name}": "search",
    "PUT /api/models/{name}/sharing": "search",
    "GET /api/indexes": "search",
    "GET /api/indexes/{name}": "search",
    "PATCH /api/indexes/{name}": "configure",
    "DELETE /api/indexes/{name}": "configure",
    "POST /api/indexes/{name}/ingest": "configure",
    "GET /api/indexes/{name}/counts": "search",
    "GET /api/indexes/{name}/sample": "search",
    "GET /api/lookups/{name}/preview": "search",
    "GET /api/ingest-errors/{name}": "configure",
    "GET /api/notables": "search",
    "GET /api/search/completion": "search",
    "GET /api/search/history": "search",
    "POST /api/search/history": "search",
    "DELETE /api/search/history": "search",
    "GET /api/searches/{identifier}/summary": "search",
    "GET /api/searches/{identifier}/timeline": "search",
    "GET /api/searches/{identifier}/chart": "search",
    "POST /api/searches/{identifier}/stage": "search",
    "POST /api/searches/{identifier}/lookup": "search",
    "GET /search": "search",
    "GET /data": "search",
    "GET /data/indexes/{name}": "search",
    "GET /data/lookups/{name}": "search",
    "GET /alerts": "search",
    "GET /alerts/notables": "search",
    "GET /alerts/{name}": "search",
    "GET /environments/{name}/jupyter": "control_environments",
    **{
        f"{method} /environments/{{name}}/jupyter/{{rest:path}}": "control_environments"
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET")
    },
}

ROLE_CAPABILITIES = {
    "viewer": {"list_environments"},
    "user": {"list_environments", "control_environments", "search", "schedule_search"},
    "power": {
        "list_environments",
        "control_environments",
        "search",
        "schedule_search",
        "share_app",
        "send_events",
    },
    "mltk_model_admin": {
        "list_environments",
        "control_environments",
        "search",
        "schedule_search",
        "upload_lookup_files",
        "upload_onnx_model_file",
    },
    "admin": set(CAPABILITIES) - {"upload_lookup_files", "upload_onnx_model_file"},
}


@pytest.fixture
def app(tmp_path: Any) -> Any:
    store = Store(f"sqlite:///{tmp_path / 's.sqlite3'}")
    store.migrate()
    store.claim(0, {})
    services = assemble(Settings(home=tmp_path, run=tmp_path), store, {})
    yield create_app(services)
    services.audit.close()
    store.close()


def cells(app: FastAPI) -> dict[str, str]:
    """Method and path of each route with the capability that its guard asks for."""
    found = {}
    for route in all_routes(app):
        assert isinstance(route, Route | WebSocketRoute | Mount)
        guard = route.app
        assert isinstance(guard, Guard), f"{route.path} is not guarded"
        methods = (route.methods or {"ANY"}) - {"HEAD"} if isinstance(route, Route) else {"WEBSOCKET"}
        found |= {f"{method} {route.path}": guard.capability for method in methods}
    return found


def test_every_route_is_guarded_and_names_what_was_promised(app: FastAPI) -> None:
    found = cells(app)
    assert set(found.values()) <= {*CAPABILITIES, OPEN, SIGNED_IN}
    known = {key: value for key, value in found.items() if key in PROMISED}
    assert known == PROMISED
    others = {key: value for key, value in found.items() if key not in PROMISED}
    assert OPEN not in others.values(), f"state in PROMISED what is open to anyone: {others}"


def test_a_route_that_names_nothing_lets_nobody_in(app: FastAPI) -> None:
    async def endpoint() -> dict[str, str]:
        return {"secret": "shown"}

    app.router.add_api_route("/forgotten", endpoint)
    app.router.routes.append(Mount("/mounted", app=FastAPI()))
    forgotten = app.router.routes[-2:]
    assert [capability_of(route) for route in forgotten] == [UNLISTED, UNLISTED]
    protect(forgotten, app.state.services)
    services = app.state.services
    owner = services.users.ensure_owner()
    _, token = services.tokens.create(owner.id, "t")
    status, body = call(app, "/forgotten", token)
    assert (status, b"shown" in body) == (403, False)
    assert call(app, "/mounted/docs", token)[0] == 403
    assert call(app, "/api/me", token)[0] == 200
    with pytest.raises(TypeError):
        protect([object()], services)  # type: ignore[list-item]


def call(app: FastAPI, path: str, token: str) -> tuple[int, bytes]:
    """One GET straight into the application."""
    answer: list[Any] = []

    async def run() -> None:
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await asyncio.sleep(60)
            sent = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 5),
            "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token}".encode())],
        }
        await app(scope, receive, send)

    with ThreadPoolExecutor(1) as pool:  # a loop of its own: after tests with a browser this thread has one that runs
        pool.submit(asyncio.run, run()).result()
    return answer[0]["status"], b"".join(m.get("body", b"") for m in answer[1:])


def test_needs_marks_and_returns_the_endpoint() -> None:
    def endpoint() -> None: ...

    assert needs("search")(endpoint) is endpoint
    assert endpoint.capability == "search"  # type: ignore[attr-defined]


def test_roles_hold_what_the_contract_says() -> None:
    assert {role: set(held) for role, held in ROLES.items()} == ROLE_CAPABILITIES


def concrete(cell: str) -> tuple[str, str]:
    method, path = cell.split(" ", 1)
    path = path.replace("{rest:path}", "api/kernels")
    for part in ("name", "token", "job", "module", "identifier"):
        path = path.replace(f"{{{part}}}", "nothing-of-that-name")
    return method, path


def ask(controller: Any, cell: str, token: str | None) -> int:
    method, path = concrete(cell)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if method == "WEBSOCKET":
        headers |= {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": controller.url}
        headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        answer = requests.get(controller.url + path, headers=headers, timeout=30)
        # The door refuses every upgrade with 403; its words say why.
        return 404 if "There is no environment" in answer.text else answer.status_code
    # Streams and bodies do not matter here: only whether the guard lets the request through.
    with requests.request(method, controller.url + path, headers=headers, json={}, timeout=30, stream=True) as answer:
        return answer.status_code


@pytest.mark.slow
def test_the_matrix_of_roles_and_routes(controller: Any) -> None:
    """Anonymous, forged, revoked and every role against every route: refused exactly where it must be."""
    tokens: dict[str, str | None] = {"anonymous": None, "forged": "ldk_" + "x" * 43}
    for role in ROLES:
        tokens[role] = controller.token_of(f"a-{role}", role)
    revoked = controller.token_of("gone", "admin")
    assert controller("PATCH", "/api/users/gone", {"active": False}).status_code == 200
    tokens["revoked"] = revoked
    wrong = []
    for cell, capability in PROMISED.items():
        if "/services/collector" in cell:
            continue  # answers as Splunk does, role by role in test_collector_routes.py
        # Signing out would end nothing here, but a token's own list is needed below.
        for who, token in tokens.items():
            status = ask(controller, cell, token)
            if capability == OPEN:
                right = status != 403 and (status != 401 or "sign-in" in cell)
            elif who in ("anonymous", "forged", "revoked"):
                right = status == 401
            elif capability != SIGNED_IN and capability not in ROLE_CAPABILITIES[who]:
                right = status == 403
            else:
                right = status not in (401, 403)
            if not right:
                wrong.append((cell, who, status))
    assert wrong == []
