"""An environment shared with users by name: they use it, its owner alone controls it; strangers see nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests


@contextmanager
def person(controller: Any, name: str, *roles: str) -> Iterator[requests.Session]:
    """A user of that name, signed in as a browser is."""
    assert controller("POST", "/api/users", {"name": name, "roles": list(roles)}).status_code == 201
    link = controller("POST", f"/api/users/{name}/tickets").json()["url"]
    with requests.Session() as session:
        session.headers["Origin"] = controller.url
        session.get(link, timeout=30, allow_redirects=False)
        yield session
    controller("DELETE", f"/api/users/{name}")


def test_named_users_use_it_and_control_nothing(shared_controller: Any) -> None:
    at = f"{shared_controller.url}/api/environments"
    with (
        person(shared_controller, "owner", "power") as owner,
        person(shared_controller, "plain", "user") as plain,
        person(shared_controller, "guest", "user") as guest,
        person(shared_controller, "stranger", "user") as stranger,
    ):
        body = {"name": "shared", "runtime": "quick"}
        assert owner.post(f"{at}?wait=60", json=body, timeout=90).status_code == 201
        assert guest.get(f"{at}/shared", timeout=30).status_code == 404
        shared = owner.put(f"{at}/shared/sharing", json={"users": ["guest"]}, timeout=30)
        assert (shared.status_code, shared.json()["users"], shared.json()["sharing"]) == (200, ["guest"], "user")
        assert [one["name"] for one in guest.get(at, timeout=30).json()] == ["shared"]
        assert guest.get(f"{at}/shared/modules", timeout=30).status_code not in (401, 403, 404)
        assert stranger.get(at, timeout=30).json() == []
        assert stranger.get(f"{at}/shared", timeout=30).status_code == 404
        assert stranger.get(f"{at}/shared/modules", timeout=30).status_code == 404
        for method, path in (("POST", "stop"), ("POST", "restart"), ("PUT", "sharing"), ("DELETE", "")):
            asked = guest.request(method, f"{at}/shared/{path}".rstrip("/"), json={"users": []}, timeout=30)
            assert asked.status_code == 403, (method, path)
        page = f"{shared_controller.url}/environments/shared/jupyter/lab"
        assert guest.get(page, timeout=30).status_code == 403
        # Unknown users are an error that lists nobody, and change nothing.
        wrong = owner.put(f"{at}/shared/sharing", json={"users": ["gust"]}, timeout=30)
        assert wrong.status_code == 404
        assert "guest" not in wrong.text
        # Who may not share with an app may name nobody either.
        assert plain.post(f"{at}?wait=60", json={"name": "p", "runtime": "quick"}, timeout=90).status_code == 201
        assert plain.put(f"{at}/p/sharing", json={"users": ["guest"]}, timeout=30).status_code == 403
        assert owner.put(f"{at}/shared/sharing", json={"users": []}, timeout=30).json()["users"] == []
        assert guest.get(f"{at}/shared", timeout=30).status_code == 404
        for session, name in ((owner, "shared"), (plain, "p")):
            assert session.delete(f"{at}/{name}?files=true&wait=60", timeout=90).status_code == 204


def test_the_command_line_shares(shared_controller: Any) -> None:
    def labdock(*arguments: str) -> Any:
        environment = {**os.environ, "LABDOCK_HOME": str(shared_controller.home)}
        command = [sys.executable, "-m", "labdock.cli", *arguments, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    shared_controller.start("cli")
    with person(shared_controller, "anna", "user"), person(shared_controller, "ben", "user"):
        assert labdock("share", "cli") == {"name": "cli", "sharing": "user", "users": []}
        assert labdock("share", "cli", "--with", "anna")["users"] == ["anna"]
        assert labdock("share", "cli", "--with", "ben", "--app") == {
            "name": "cli",
            "sharing": "app",
            "users": ["anna", "ben"],
        }
        assert labdock("share", "cli", "--all")["sharing"] == "global"
        assert labdock("share", "cli", "--nobody") == {"name": "cli", "sharing": "user", "users": []}
    assert shared_controller("DELETE", "/api/environments/cli?files=true&wait=60").status_code == 204
