"""Records of fits are written after their answers: nobody sees that, no kill loses one, a busy store only delays it."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from labdock.errors import Forbidden
from labdock_controller.access.rights import Principal, capabilities_of
from labdock_controller.environment_rows import Request
from labdock_controller.environments import Environments
from labdock_controller.events import Events
from labdock_controller.fit_notes import WAIT_SECONDS, FitNotes
from labdock_controller.models import Models
from labdock_controller.store import Store
from labdock_controller.store.tables import UserRow

ANN, POWER = (
    Principal(name * 12, name, roles, capabilities_of(roles), "token", "c")
    for name, roles in (("a", ["user"]), ("p", ["power"]))
)


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


# -- the notes themselves ----------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 's.sqlite3'}")
    made.migrate()
    made.claim(0, {})
    with made.write() as session:
        for person in (ANN, POWER):
            session.add(UserRow(id=person.user_id, name=person.user, roles=[], created=0.0, active=True))
    yield made
    made.close()


@pytest.fixture
def place(store: Store) -> str:
    return Environments(store, Events(store)).ask_start(Request("e"), ANN, Request("e", "quick", "i", "dev")).id


def test_another_controller_records_what_was_noted(store: Store, place: str, tmp_path: Path) -> None:
    models = Models(store)
    FitNotes(tmp_path / "fits", models).note(place, {"model": "m", "version": 3}, {"sharing": "app"}, POWER)
    FitNotes(tmp_path / "fits", models).replay()
    (model,) = models.visible(POWER)
    assert (model.name, model.owner, model.sharing, model.current.version) == ("m", "p", "app", 3)
    assert list((tmp_path / "fits").iterdir()) == []


def test_a_note_stays_until_the_store_takes_it(store: Store, place: str, tmp_path: Path) -> None:
    models = Models(store)
    FitNotes(tmp_path / "fits", models).note(place, {"model": "m", "version": 1}, {}, POWER)
    epoch, store.epoch = store.epoch, -1  # another controller took over
    FitNotes(tmp_path / "fits", models).replay()
    assert models.visible(POWER) == []
    store.epoch = epoch
    FitNotes(tmp_path / "fits", models).replay()
    assert [(model.name, model.owner) for model in models.visible(POWER)] == [("m", "p")]


def test_what_cannot_be_recorded_is_in_nobodys_way(store: Store, place: str, tmp_path: Path) -> None:
    models = Models(store)
    notes = FitNotes(tmp_path / "fits", models)
    notes.note("0" * 12, {"model": "gone", "version": 1}, {}, POWER)
    notes.note(place, {"model": "../no name", "version": 1}, {}, POWER)
    notes.note(place, {"model": "m", "version": 1}, {}, POWER)
    (tmp_path / "fits" / "0.json").write_text('{"environment_id": "')
    FitNotes(tmp_path / "fits", models).replay()
    assert [model.name for model in models.visible(POWER)] == ["m"]
    assert list((tmp_path / "fits").iterdir()) == []


def test_what_may_not_be_shared_is_not_noted(store: Store, place: str, tmp_path: Path) -> None:
    with pytest.raises(Forbidden):
        FitNotes(tmp_path / "fits", Models(store)).note(place, {"model": "m"}, {"sharing": "app"}, ANN)
    assert list((tmp_path / "fits").iterdir()) == []
