"""Records of fits are written after their answers: nobody sees that, no kill loses one, a busy store only delays it."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import requests

from labdock_controller.fit_notes import WAIT_SECONDS


@contextmanager
def locked(controller: Any) -> Iterator[None]:
    """Nobody else can write to the store; reading goes on."""
    with closing(sqlite3.connect(controller.home / "labdock.sqlite3", isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        yield


def fit(controller: Any, user: dict[str, str]) -> requests.Response:
    options = {"Labdock-Options": json.dumps({"algo": "a", "model": "m"})}
    answer: requests.Response = controller(
        "POST", "/api/environments/shared/fit", data=b"a frame", headers={**user, **options}
    )
    return answer


def owners(controller: Any, user: dict[str, str]) -> list[tuple[str, str]]:
    models = controller("GET", "/api/models", headers=user).json()
    return [(model["name"], model["owner"]) for model in models]


@pytest.fixture
def shared(controller: Any) -> Any:
    """A controller whose users `ann` and `bob` may use the owner's environment."""
    controller.ann, controller.bob = controller.user("ann", "user"), controller.user("bob", "user")
    controller.start("shared")
    assert controller("PUT", "/api/environments/shared/sharing", {"users": ["ann", "bob"]}).status_code == 200
    return controller


def test_who_asks_after_a_fit_waits_for_its_record_but_not_long(shared: Any) -> None:
    with locked(shared):
        assert fit(shared, shared.ann).status_code == 200
        asked = time.monotonic()
        assert owners(shared, shared.ann) == []
        assert time.monotonic() - asked > 0.9 * WAIT_SECONDS
    # The record tries again every 0.1 s by now; this question comes before that.
    assert owners(shared, shared.ann) == [("m", "ann")]


def test_an_answered_fit_is_its_users_to_whoever_fits_next(shared: Any) -> None:
    with locked(shared):
        assert fit(shared, shared.ann).status_code == 200
    assert fit(shared, shared.bob).status_code == 403


def test_killed_between_a_fits_answer_and_its_record(shared: Any, make_controller: Any) -> None:
    with locked(shared):
        assert fit(shared, shared.ann).status_code == 200
        shared.kill()
    again = make_controller(home_of=shared)
    assert owners(again, shared.ann) == [("m", "ann")]
    assert list((shared.run / "fits").iterdir()) == []
