"""Users, tokens, sessions and tickets over HTTP: what is refused, and that it is refused at once."""

import re
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from labdock.errors import Forbidden, Unauthenticated
from labdock_controller.access.rights import (
    CAPABILITIES,
    OPEN,
    ROLES,
    SIGNED_IN,
    Principal,
    Resource,
    allowed,
    capabilities_of,
    decide,
)
from labdock_controller.logs import redacted
from labdock_controller.web.attempts import FAILURES, Attempts
from labdock_controller.web.routes.session import same_site


def principal(user: str = "ada", *capabilities: str) -> Principal:
    return Principal(user, user, (), frozenset(capabilities), "token", "c")


def test_nothing_is_allowed_that_is_not_named() -> None:
    everything = principal("ada", *CAPABILITIES)
    with pytest.raises(Forbidden):
        decide(everything, "unlisted")
    with pytest.raises(Forbidden):
        decide(everything, "")
    with pytest.raises(Unauthenticated):
        decide(None, "search")
    with pytest.raises(Unauthenticated):
        decide(None, SIGNED_IN)
    assert decide(None, OPEN) is None
    assert decide(principal("ada"), SIGNED_IN)


@pytest.mark.parametrize("sharing", ["user", "app", "global", "nonsense"])
@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("who", ["owner", "other", "administrator"])
def test_whose_it_is(sharing: str, writes: bool, who: str) -> None:
    """Owners and administrators may; others read what is shared and write nothing."""
    asks = principal("owner" if who == "owner" else "x", *({"search", "configure"} if who[0] == "a" else {"search"}))
    resource = Resource("model", "m", "owner", sharing, writes)
    expected = who in ("owner", "administrator") or (sharing in ("app", "global") and not writes)
    assert allowed(asks, "search", resource) is expected
    assert not allowed(asks, "manage_users", resource)


def test_the_page_on_access_says_what_each_role_may_do() -> None:
    """Each row of the table adds to the one before (viewer, user, power) or names what it adds or lacks."""
    page = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
    rows = {
        role: set(re.findall(r"`(\w+)`", text))
        for role, text in re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    }
    viewer = rows["viewer"]
    user = viewer | rows["user"]
    documented = {
        "viewer": viewer,
        "user": user,
        "power": user | rows["power"],
        "mltk_model_admin": user | (rows["mltk_model_admin"] - {"user"}),
        "admin": set(CAPABILITIES) - rows["admin"],
    }
    assert documented == {role: set(held) for role, held in ROLES.items()}


def test_a_token_and_its_roles_intersect() -> None:
    assert capabilities_of(["viewer"], ["search", "list_environments"]) == {"list_environments"}
    assert capabilities_of(["user", "viewer"], []) == frozenset()
    assert capabilities_of(["no-such-role"]) == frozenset()
    assert capabilities_of(["viewer", "user"]) == capabilities_of(["user"])


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("/environments/a/jupyter/lab?x=1#y", True),
        ("//evil.example", False),
        ("/\\evil.example", False),
        ("https://evil.example", False),
        ("evil.example", False),
        ("/a\r\nSet-Cookie: x", False),
        ("", False),
        ("/" + "a" * 3000, False),
    ],
)
def test_sign_in_leads_to_this_site_only(target: str, safe: bool) -> None:
    assert same_site(target) == (target if safe else "/")


def test_tokens_are_cut_out_of_logs() -> None:
    text = redacted(
        "Authorization: Bearer ldk_aaaaaaaaaaaaaaaaaaaaaaaa /sign-in?ticket=ldt_bbbbbbbbbbbbbbbbbbb token=" + "c" * 32
    )
    for secret in ("a" * 10, "b" * 10, "c" * 10):
        assert secret not in text
    assert redacted("nothing secret: token bucket") == "nothing secret: token bucket"


def test_failed_sign_ins_are_limited_for_each_name_and_address() -> None:
    attempts = Attempts()
    for _ in range(FAILURES):
        attempts.check("ada", "10.0.0.1")
        attempts.failed("ada", "10.0.0.1")
    for user, address in (("ada", "10.0.0.2"), ("bob", "10.0.0.1")):
        with pytest.raises(Exception, match="Too many") as raised:
            attempts.check(user, address)
        assert raised.value.details["retry_after"] > 0
    attempts.check("bob", "10.0.0.2")
    attempts.worked("ada", "10.0.0.1")
    attempts.check("ada", "10.0.0.1")


class Browser(requests.Session):
    """Signed in by a link, as a browser is."""

    def __init__(self, controller: Any, name: str = "") -> None:
        super().__init__()
        self.base = controller.url
        path = f"/api/users/{name}/tickets" if name else "/api/tickets"
        self.link = controller("POST", path).json()["url"]
        self.landing = self.get(self.link, allow_redirects=False, timeout=30)

    def __call__(self, method: str, path: str, origin: str | None = "own", **named: Any) -> requests.Response:
        headers = dict(named.pop("headers", {}))
        if origin is not None:
            headers["Origin"] = self.base if origin == "own" else origin
        return self.request(method, self.base + path, headers=headers, timeout=30, **named)


def new_user(controller: Any, name: str, *roles: str, **more: Any) -> None:
    answer = controller("POST", "/api/users", {"name": name, "roles": list(roles), **more})
    assert answer.status_code == 201, answer.text


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_cookie_is_for_this_site_and_no_script(shared_controller: Any) -> None:
    with Browser(shared_controller) as browser:
        header = browser.landing.headers["Set-Cookie"].lower()
        assert header.startswith("labdock_session=lds_")
        for part in ("httponly", "samesite=strict", "path=/", "max-age="):
            assert part in header
        assert browser("GET", "/api/me").json()["via"] == "session"


def test_a_page_of_another_site_can_do_nothing_with_the_cookie(shared_controller: Any) -> None:
    port = shared_controller.url.rpartition(":")[2]
    foreign = [
        "https://evil.example",
        "null",
        f"http://127.0.0.1:{port}.evil.example",
        "http://127.0.0.1:1",
        f"https://127.0.0.1:{port}",
        f"http://localhost:{port}",
        "",
    ]
    with Browser(shared_controller) as browser:
        for origin in [*foreign, None]:
            answer = browser("POST", "/api/tokens", origin=origin, json={"name": "stolen"})
            assert answer.status_code == 403, origin
        assert browser("POST", "/api/tokens", json={"name": "mine"}).status_code == 201
        assert browser("DELETE", "/api/tokens/mine").status_code == 204
        names = [t["name"] for t in browser("GET", "/api/tokens").json()]
        assert "stolen" not in names


def test_a_rebound_name_is_refused(shared_controller: Any) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", "[", "localhost@evil.example"):
        answer = shared_controller("GET", "/api/me", headers={"Host": host})
        assert answer.status_code in (400, 403), host
    for host in ("localhost", "127.0.0.1:9999", "[::1]:5"):
        assert shared_controller("GET", "/api/me", headers={"Host": host}).status_code == 200


def test_a_wrong_token_does_not_fall_back_to_the_cookie(shared_controller: Any) -> None:
    with Browser(shared_controller) as browser:
        assert browser("GET", "/api/me", headers=bearer("ldk_wrong")).status_code == 401
        assert browser("GET", "/api/me", headers={"Authorization": "Basic YTpi"}).status_code == 401
        assert browser("GET", "/api/me").status_code == 200
        session = browser.cookies["labdock_session"]
    assert shared_controller("GET", "/api/me", headers=bearer(session)).status_code == 401
    token = shared_controller.token
    assert (
        requests.get(f"{shared_controller.url}/api/me", cookies={"labdock_session": token}, timeout=30).status_code
        == 401
    )
    for almost in (token[:-1], token + "x", token.upper(), f" {token} x", token[1:]):
        assert shared_controller("GET", "/api/me", headers=bearer(almost)).status_code == 401, almost


def test_a_token_can_do_what_it_says_and_no_more(shared_controller: Any) -> None:
    answer = shared_controller("POST", "/api/tokens", {"name": "looker", "capabilities": ["list_environments"]})
    token = answer.json()["token"]
    assert shared_controller("GET", "/api/environments", headers=bearer(token)).status_code == 200
    assert shared_controller("POST", "/api/environments", {"name": "x"}, headers=bearer(token)).status_code == 403
    more = shared_controller("POST", "/api/tokens", {"name": "more", "capabilities": ["search"]}, headers=bearer(token))
    assert more.status_code == 403
    # Nor can it get more by a token without a list, or by a browser's session.
    heir = shared_controller("POST", "/api/tokens", {"name": "heir"}, headers=bearer(token)).json()
    assert heir["capabilities"] == ["list_environments"]
    link = shared_controller("POST", "/api/tickets", headers=bearer(token)).json()["url"]
    with requests.Session() as browser:
        browser.get(link, allow_redirects=False, timeout=30)
        assert browser.get(f"{shared_controller.url}/api/me", timeout=30).json()["capabilities"] == [
            "list_environments"
        ]
    for name in ("looker", "heir"):
        assert shared_controller("DELETE", f"/api/tokens/{name}").status_code == 204
    assert shared_controller("GET", "/api/me", headers=bearer(token)).status_code == 401


def test_the_secret_is_shown_once(shared_controller: Any) -> None:
    secret = shared_controller("POST", "/api/tokens", {"name": "once"}).json()["token"]
    listed = shared_controller("GET", "/api/tokens").text
    assert '"once"' in listed
    assert secret not in listed
    assert shared_controller("POST", "/api/tokens", {"name": "once"}).status_code == 409
    shared_controller("DELETE", "/api/tokens/once")


def test_tokens_expire(shared_controller: Any) -> None:
    import time

    made = shared_controller("POST", "/api/tokens", {"name": "brief", "days": 1.0 / 86_400}).json()
    deadline = time.monotonic() + 20
    while shared_controller("GET", "/api/me", headers=bearer(made["token"])).status_code == 200:
        assert time.monotonic() < deadline, "it does not expire"
        time.sleep(0.1)
    assert time.time() >= made["expires"]
    assert shared_controller("POST", "/api/tokens", {"name": "never", "days": 0}).status_code == 422


def test_changes_of_a_user_work_on_the_next_request(shared_controller: Any) -> None:
    new_user(shared_controller, "eve", "user")
    with Browser(shared_controller, "eve") as browser:
        token = browser("POST", "/api/tokens", json={"name": "t"}).json()["token"]
        assert browser("GET", "/api/models").status_code == 200
        shared_controller("PATCH", "/api/users/eve", {"roles": ["viewer"]})
        assert browser("GET", "/api/models").status_code == 403
        assert shared_controller("GET", "/api/models", headers=bearer(token)).status_code == 403
        shared_controller("PATCH", "/api/users/eve", {"active": False})
        assert browser("GET", "/api/me").status_code == 401
        assert shared_controller("GET", "/api/me", headers=bearer(token)).status_code == 401
        shared_controller("PATCH", "/api/users/eve", {"active": True})
        assert browser("GET", "/api/me").status_code == 401, "the session had ended"
        assert shared_controller("GET", "/api/me", headers=bearer(token)).status_code == 200
    assert shared_controller("DELETE", "/api/users/eve").status_code == 204
    assert shared_controller("GET", "/api/me", headers=bearer(token)).status_code == 401


def test_passwords(shared_controller: Any) -> None:
    new_user(shared_controller, "pat", "user", password="correct horse")
    url = shared_controller.url
    with requests.Session() as browser:

        def sign_in(password: str, user: str = "pat") -> int:
            body = {"user": user, "password": password}
            return browser.post(f"{url}/sign-in", json=body, allow_redirects=False, timeout=30).status_code

        assert sign_in("wrong") == 401
        assert sign_in("correct horse", "nobody") == 401
        assert sign_in("correct horse") == 303
        assert browser.get(f"{url}/api/me", timeout=30).json()["user"] == "pat"
        change = {"old": "correct horse", "new": "battery staple"}
        headers = {"Origin": url}
        assert browser.put(f"{url}/api/me/password", json=change, headers=headers, timeout=30).status_code == 204
        assert browser.get(f"{url}/api/me", timeout=30).status_code == 401
        assert sign_in("correct horse") == 401
        assert sign_in("battery staple") == 303
        assert browser.post(f"{url}/api/sign-out", headers=headers, timeout=30).status_code == 204
        assert browser.get(f"{url}/api/me", timeout=30).status_code == 401
        foreign = {"Origin": "https://evil.example"}
        body = {"user": "pat", "password": "battery staple"}
        assert browser.post(f"{url}/sign-in", json=body, headers=foreign, timeout=30).status_code == 403
    shared_controller("DELETE", "/api/users/pat")


def test_the_last_administrator_stays(shared_controller: Any) -> None:
    assert shared_controller("PATCH", "/api/users/admin", {"roles": ["user"]}).status_code == 409
    assert shared_controller("PATCH", "/api/users/admin", {"active": False}).status_code == 409
    assert shared_controller("GET", "/api/me").json()["user"] == "admin"


def test_environments_of_others(make_controller: Any) -> None:
    controller = make_controller()
    tokens = {}
    for name, role in (("ann", "user"), ("bob", "power"), ("vic", "viewer")):
        new_user(controller, name, role)
        with Browser(controller, name) as browser:
            tokens[name] = browser("POST", "/api/tokens", json={"name": "t"}).json()["token"]

    def ask(who: str, method: str, path: str, body: Any = None) -> requests.Response:
        answer: requests.Response = controller(method, path, body, headers=bearer(tokens[who]))
        return answer

    assert ask("ann", "POST", "/api/environments?wait=60", {"name": "hers"}).status_code == 201
    assert ask("bob", "POST", "/api/environments?wait=60", {"name": "his"}).status_code == 201
    for path in ("", "/logs", "/modules"):
        assert ask("bob", "GET", f"/api/environments/hers{path}").status_code == 404
    for action in ("stop", "start", "restart", "extend"):
        assert ask("bob", "POST", f"/api/environments/hers/{action}").status_code == 404
    assert ask("bob", "DELETE", "/api/environments/hers").status_code == 404
    assert ask("bob", "GET", "/environments/hers/jupyter/lab").status_code == 404
    assert "hers" not in ask("bob", "GET", "/api/environments").text
    assert ask("bob", "POST", "/api/environments", {"name": "hers"}).status_code == 409
    # Shared: others may use it, and only its owner and administrators control it.
    assert ask("ann", "PUT", "/api/environments/hers/sharing", {"sharing": "app"}).status_code == 403
    assert ask("bob", "PUT", "/api/environments/his/sharing", {"sharing": "app"}).status_code == 200
    assert ask("ann", "GET", "/api/environments/his").status_code == 200
    assert ask("vic", "GET", "/api/environments/his/logs").status_code == 200
    assert ask("ann", "GET", "/api/environments/his/modules").status_code not in (401, 403, 404)
    assert ask("vic", "GET", "/api/environments/his/modules").status_code == 403
    for action in ("stop", "start", "restart", "extend"):
        assert ask("ann", "POST", f"/api/environments/his/{action}").status_code == 403
    assert ask("ann", "GET", "/environments/his/jupyter/lab").status_code == 403
    assert controller("POST", "/api/environments/hers/stop?wait=60").json()["status"] == "stopped"
    assert controller("DELETE", "/api/users/ann").status_code == 409, "she owns an environment"


def test_the_audit_log_has_every_change_with_its_outcome(make_controller: Any) -> None:
    controller = make_controller()
    controller("POST", "/api/users", {"name": "x"})
    controller("POST", "/api/users", {"name": "x"})
    controller("POST", "/api/environments", {"name": "bad/name"})
    requests.post(f"{controller.url}/api/users", json={"name": "y"}, timeout=30)
    controller("GET", "/api/users")
    import time

    deadline = time.monotonic() + 10
    while len(rows := controller("GET", "/api/audit").json()) < 4:
        assert time.monotonic() < deadline, rows
        time.sleep(0.05)
    found = {(row["user"], row["via"], row["action"], row["status"]) for row in rows}
    assert found == {
        ("admin", "token", "POST /api/users", 201),
        ("admin", "token", "POST /api/users", 409),
        ("admin", "token", "POST /api/environments", 422),
        ("", "none", "POST /api/users", 401),
    }
    assert all(row["request_id"] and row["address"] == "127.0.0.1" for row in rows)


@pytest.mark.slow
def test_authentication_costs_no_query(make_controller: Any) -> None:
    """A thousand authenticated requests open no file and add no row; wrong tokens do not fill the memory."""
    controller = make_controller()
    me = psutil.Process(controller.process.pid)
    controller.warm()
    for _ in range(50):
        controller("GET", "/api/me")
    files, memory = controller.open_files(), me.memory_info().rss
    for i in range(1000):
        assert controller("GET", "/api/me").status_code == 200
        assert controller("GET", "/api/me", headers=bearer(f"ldk_{i}")).status_code == 401
    assert len(controller.open_files()) <= len(files) + 2, (files, controller.open_files())
    assert me.memory_info().rss < memory * 1.1
