"""Quotas of roles and users: what holds for whom, refusals that name it, and two starts at once of which one fits."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from conftest import Controller
from tests.waiting import wait_for

SERIAL = count()


class Person:
    """A user, and what they ask."""

    def __init__(self, controller: Controller, *roles: str) -> None:
        self.controller, self.name = controller, f"person{next(SERIAL)}"
        assert controller("POST", "/api/users", {"name": self.name, "roles": roles}).status_code == 201
        link = controller("POST", f"/api/users/{self.name}/tickets").json()["url"]
        session = {"Cookie": controller.http.get(link, allow_redirects=False).headers["Set-Cookie"].split(";")[0]}
        body = {"name": "t"}
        made = controller.http.post(
            f"{controller.url}/api/tokens", json=body, timeout=60,
            headers={**session, "Authorization": None, "Origin": controller.url},
        )  # fmt: skip
        assert made.status_code == 201, made.text
        self.headers = {"Authorization": f"Bearer {made.json()['token']}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return self.controller(method, path, body, headers=self.headers)

    def start(self, name: str, **limits: float) -> Any:
        body = {"name": f"{self.name}-{name}", "runtime": "quick", "limits": limits or None}
        return self.ask("POST", "/api/environments?wait=60", body)

    def set(self, **quota: float) -> None:
        set_quota(self.controller, "user", self.name, **quota)

    def stop_all(self) -> None:
        for one in self.ask("GET", "/api/environments").json():
            if one["owner"] == self.name:
                assert self.ask("POST", f"/api/environments/{one['name']}/stop?wait=60").status_code == 200


def set_quota(controller: Controller, kind: str, name: str, **quota: float) -> None:
    assert controller("PUT", "/api/quotas", {"kind": kind, "name": name, **quota}).status_code == 200


@pytest.fixture
def person(shared_controller: Controller) -> Any:
    made = Person(shared_controller, "user")
    yield made
    made.stop_all()


def test_what_runs_together_is_limited_and_the_refusal_says_by_what(person: Person) -> None:
    person.set(cpus=3, memory_mb=1000)
    assert person.start("a", cpus=2, memory_mb=400).status_code == 201
    refused = person.start("b", cpus=1.5, memory_mb=100)
    assert refused.status_code == 429
    problem = refused.json()
    assert problem["code"] == "limit-exceeded"
    assert problem["details"]["limit"] == "cpus"
    assert (problem["details"]["value"], problem["details"]["used"], problem["details"]["asked"]) == (3, 2, 1.5)
    assert f"user {person.name}" in problem["remedy"]
    assert "cpus 1 or less" in problem["remedy"]
    assert person.start("b", cpus=1, memory_mb=601).json()["details"]["limit"] == "memory_mb"
    assert person.start("b", cpus=1, memory_mb=600).status_code == 201  # exactly what is left
    assert person.ask("GET", "/api/quota").json() == {
        "quota": {"environments": 20, "cpus": 3, "memory_mb": 1000, "gpus": None},
        "used": {"environments": 2, "cpus": 3, "memory_mb": 1000, "gpus": 0},
    }
    # What does not say how much it takes is refused, as Kubernetes does, not counted as nothing.
    assert person.start("c").json()["details"]["limit"] == "cpus"


def test_a_stopped_one_gives_back_and_a_restart_is_no_further_one(person: Person) -> None:
    person.set(environments=1)
    name = person.start("a").json()["name"]
    assert person.start("b").status_code == 429
    assert person.ask("POST", f"/api/environments/{name}/restart?wait=60").json()["status"] == "running"
    person.set(environments=0)  # smaller than what runs: it goes on, and may be restarted
    assert person.ask("POST", f"/api/environments/{name}/restart?wait=60").json()["status"] == "running"
    assert person.ask("POST", f"/api/environments/{name}/stop?wait=60").status_code == 200
    refused = person.ask("POST", f"/api/environments/{name}/start")
    assert (refused.status_code, refused.json()["details"]["limit"]) == (429, "environments")
    # Nobody gets round it: the administrator who starts it uses its owner's quota, too.
    assert person.controller("POST", f"/api/environments/{name}/start").status_code == 429
    person.set()  # none of one's own any more
    assert person.ask("POST", f"/api/environments/{name}/start?wait=60").json()["status"] == "running"


def test_of_two_starts_at_once_only_what_fits_begins(person: Person) -> None:
    person.set(cpus=2)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: person.start(f"e{number}", cpus=1).status_code, range(8)))
    assert sorted(answers) == [201] * 2 + [429] * 6
    used = person.ask("GET", "/api/quota").json()["used"]
    assert (used["environments"], used["cpus"]) == (2, 2)
    person.stop_all()
    names = [f"{person.name}-e{number}" for number, status in enumerate(answers) if status == 201]
    person.set(cpus=1)
    with ThreadPoolExecutor(2) as pool:
        again = pool.map(lambda name: person.ask("POST", f"/api/environments/{name}/start").status_code, names)
        assert sorted(again) == [200, 429]
    wait_for(lambda: person.ask("GET", "/api/quota").json()["used"]["cpus"] == 1, 10, "one")


def test_a_users_own_goes_before_the_roles_and_the_most_generous_role_counts(shared_controller: Controller) -> None:
    person = Person(shared_controller, "user", "power")
    quota = lambda: person.ask("GET", "/api/quota").json()["quota"]  # noqa: E731
    try:
        set_quota(shared_controller, "role", "user", cpus=4, environments=3)
        assert (quota()["cpus"], quota()["environments"]) == (4, 3)
        set_quota(shared_controller, "role", "power", cpus=8, gpus=1)
        assert (quota()["cpus"], quota()["environments"], quota()["gpus"]) == (8, 3, 1)
        person.set(cpus=2)
        assert (quota()["cpus"], quota()["environments"], quota()["gpus"]) == (2, 3, 1)
        shown = {(one["kind"], one["name"]): one for one in shared_controller("GET", "/api/quotas").json()}
        assert shown["role", "power"]["gpus"] == 1
        assert shown["user", person.name]["changed_by"] == "admin"
        # The administrator has both roles' capabilities and none of their quotas.
        assert set(shared_controller("GET", "/api/quota").json()["quota"].values()) == {None}
    finally:
        set_quota(shared_controller, "role", "user")
        set_quota(shared_controller, "role", "power")
    assert quota()["environments"] == 20
    assert shared_controller("DELETE", f"/api/users/{person.name}").status_code == 204
    assert person.name not in [one["name"] for one in shared_controller("GET", "/api/quotas").json()]


@pytest.mark.parametrize(
    ("kind", "name", "given", "status"),
    [
        ("role", "usr", {"cpus": 1}, 404),
        ("user", "nobody-here", {"cpus": 1}, 404),
        ("group", "user", {"cpus": 1}, 422),
        ("role", "user", {"cpus": -1}, 422),
        ("role", "user", {"disk": 1}, 422),
    ],
)
def test_what_makes_no_sense_sets_nothing(
    shared_controller: Controller, kind: str, name: str, given: Any, status: int
) -> None:
    before = shared_controller("GET", "/api/quotas").json()
    asked = {"kind": kind, "name": name, **given}
    assert shared_controller("PUT", "/api/quotas", asked).status_code == status
    assert shared_controller("GET", "/api/quotas").json() == before
