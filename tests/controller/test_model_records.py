"""Model records: once for each version, by whoever saw it first; whose they are; what was missed is collected."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError

from labdock.errors import Forbidden, NotFound
from labdock_controller.access.rights import Principal, capabilities_of
from labdock_controller.environment_rows import Request
from labdock_controller.environments import Environments
from labdock_controller.events import Events
from labdock_controller.fit_notes import FitNotes
from labdock_controller.model_rows import JUST_NOW
from labdock_controller.models import Models
from labdock_controller.store import Store
from labdock_controller.store.tables import ModelVersionRow, UserRow

INFO = {
    "model": "m",
    "version": 1,
    "module": "a_module",
    "module_sha256": "0" * 64,
    "features": ["a", "b"],
    "target": [],
    "params": {"n": "3"},
    "metrics": {"score": 0.5},
    "rows": 10,
    "duration": 0.25,
}


def who(name: str, *roles: str) -> Principal:
    return Principal(name * 12, name, roles, capabilities_of(roles), "token", "c")


ANN, BOB, POWER, ADMIN = who("a", "user"), who("b", "user"), who("p", "power"), who("x", "admin")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 's.sqlite3'}")
    made.migrate()
    made.claim(0, {})
    with made.write() as session:
        for person in (ANN, BOB, POWER, ADMIN):
            session.add(UserRow(id=person.user_id, name=person.user, roles=[], created=0.0, active=True))
    yield made
    made.close()


@pytest.fixture
def models(store: Store) -> Models:
    return Models(store)


@pytest.fixture
def place(store: Store) -> str:
    environments = Environments(store, Events(store))
    defaults = Request("e", "quick", "i", "dev")
    return environments.ask_start(Request("e"), ANN, defaults).id


def test_a_record_says_how_each_version_came_to_be(models: Models, place: str) -> None:
    models.record(place, {**INFO, "created": "2023-11-14T22:13:20.5+00:00"}, {"algo": "a_module"}, ANN)
    models.record(place, {**INFO, "version": 2, "rows": 20}, {}, ANN)
    (model,) = models.visible(ANN)
    assert (model.name, model.kind, model.owner, model.sharing, model.environment) == ("m", "module", "a", "user", "e")
    assert [v.version for v in model.versions] == [1, 2]
    first, second = model.versions
    assert first.created == 1_700_000_000.5
    assert time.time() - 60 < second.created <= time.time()
    shown = {key: getattr(first, key) for key in INFO if key not in ("model", "version")}
    assert shown == {key: value for key, value in INFO.items() if key in shown}


def test_the_same_version_twice_is_one(models: Models, place: str) -> None:
    for _ in range(3):
        models.record(place, INFO, {}, ANN)
    assert models.collect(place, ANN.user_id, [{**INFO, "name": "m"}]) == 0
    assert [v.version for v in models.get("m", ANN).versions] == [1]


def test_what_was_missed_is_collected_for_the_environments_owner(models: Models, place: str) -> None:
    models.record(place, INFO, {}, BOB)
    missed = [{**INFO, "name": "m", "version": 2}, {**INFO, "name": "new", "model": "new"}]
    assert models.collect(place, ANN.user_id, missed) == 2
    assert models.get("m", BOB).owner == "b", "a known model keeps its owner"
    assert models.get("new", ANN).owner == "a"


def test_what_was_made_just_now_is_left_to_who_made_it(models: Models, place: str) -> None:
    def made(seconds: float) -> dict[str, Any]:
        return {**INFO, "name": "m", "created": datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()}

    assert models.collect(place, ANN.user_id, [made(0)]) == 0
    models.record(place, made(0), {}, BOB)
    assert models.get("m", BOB).owner == "b"
    assert models.collect(place, ANN.user_id, [{**made(JUST_NOW + 1), "name": "old", "model": "old"}]) == 1
    assert models.collect(place, ANN.user_id, [{**made(-3600), "name": "odd", "model": "odd"}]) == 1, "a clock ahead"


def test_another_users_model_is_not_overwritten_or_seen(models: Models, place: str) -> None:
    models.check_fit(place, "m", "", ANN)
    models.record(place, INFO, {}, ANN)
    models.check_fit(place, "m", "", ANN)
    with pytest.raises(Forbidden):
        models.check_fit(place, "m", "", BOB)
    models.check_fit(place, "m", "", ADMIN)
    models.check_fit(place, "other", "", BOB)
    assert models.visible(BOB) == []
    with pytest.raises(NotFound):
        models.get("m", BOB)


def test_sharing_needs_its_capability_and_lets_others_read_only(models: Models, place: str) -> None:
    for sharing in ("app", "global"):
        with pytest.raises(Forbidden):
            models.check_fit(place, "m", sharing, ANN)
    with pytest.raises(Forbidden):
        models.check_fit(place, "m", "global", POWER)
    models.check_fit(place, "m", "app", POWER)
    models.record(place, INFO, {"sharing": "app"}, POWER)
    assert models.get("m", BOB).sharing == "app"
    with pytest.raises(Forbidden):
        models.get("m", BOB, writes=True)
    with pytest.raises(Forbidden):
        models.check_fit(place, "m", "", BOB)
    models.share(models.get("m", POWER, writes=True), "user", "search", POWER)
    with pytest.raises(NotFound):
        models.get("m", BOB)


def test_ones_own_comes_before_a_shared_one(models: Models, place: str, store: Store) -> None:
    environments = Environments(store, Events(store))
    environments.load()
    other = environments.ask_start(Request("f"), POWER, Request("f", "quick", "i", "dev")).id
    models.record(place, INFO, {}, ANN)
    models.record(other, {**INFO, "version": 9}, {"sharing": "app"}, POWER)
    assert models.get("m", ANN).owner == "a"
    assert models.get("m", ANN, "f").owner == "p"
    assert models.get("m", BOB).owner == "p"


def test_a_controller_collects_what_was_fitted_while_it_was_away(make_controller: Any) -> None:
    """The environment's manifests are the truth; nobody told the controller."""
    first = make_controller()
    made = first.start("e")
    first.kill()
    notebooks = first.home / "environments" / made["id"] / "notebooks"
    (notebooks / "models.json").write_text(json.dumps([{**INFO, "model": "found"}]))
    controller = make_controller(first)
    deadline = time.monotonic() + 30
    while not (found := controller("GET", "/api/models").json()):
        assert time.monotonic() < deadline, "not collected"
        time.sleep(0.1)
    assert (found[0]["name"], found[0]["owner"], found[0]["environment"]) == ("found", "admin", "e")
    assert controller("DELETE", "/api/models/found").status_code == 204
    assert controller("DELETE", "/api/environments/e?files=true").status_code == 204
    assert controller("GET", "/api/models").json() == []


def test_a_shared_model_is_there_for_the_roles_that_it_names(models: Models, place: str) -> None:
    models.record(place, INFO, {"sharing": "app"}, POWER)
    named = who("u", "mltk_model_admin")
    models.share(models.get("m", POWER), "app", "search", POWER, ["user"], ["mltk_model_admin"])
    assert [m.name for m in models.visible(ANN)] == ["m"]
    assert [m.name for m in models.visible(named)] == ["m"]
    assert models.get("m", named, writes=True).writers == {"mltk_model_admin"}
    models.check_fit(place, "m", "", named)
    with pytest.raises(Forbidden):
        models.get("m", ANN, writes=True)
    with pytest.raises(Forbidden):
        models.check_fit(place, "m", "", ANN)
    with pytest.raises(Forbidden, match="owner's to change"):
        models.share(models.get("m", named), "user", "search", named)
    models.share(models.get("m", POWER), "app", "search", POWER, [], ["power"])
    assert models.visible(ANN) == models.visible(named) == []
    with pytest.raises(NotFound):
        models.get("m", ANN)
    assert models.page(ANN)[1] == 0
    assert [m.name for m in models.visible(ADMIN)] == ["m"]
    models.share(models.get("m", POWER), "user", "search", POWER, None, ["user"])
    assert models.visible(ANN) == []


def test_a_role_is_named_whole(models: Models, place: str) -> None:
    """`_` is no wildcard, and no role is a part of another."""
    models.record(place, INFO, {"sharing": "app"}, POWER)
    models.share(models.get("m", POWER), "app", "search", POWER, ["mltk_model_admin"])
    assert models.visible(who("v", "user")) == models.visible(who("w", "mltkXmodelXadmin")) == []
    assert models.visible(who("z", "user", "mltk_model_admin"))


def change_that_fails(models: Models) -> None:
    with models.changing() as session:
        session.execute(delete(ModelVersionRow))
        session.execute(insert(UserRow), {"id": "z", "name": ANN.user, "roles": [], "created": 0.0, "active": True})


def test_a_record_and_the_news_of_it_are_one_transaction(store: Store, models: Models, place: str) -> None:
    events = Events(store)
    models.changing = lambda: events.changing("model")
    before = events.last()
    models.record(place, INFO, {}, ANN)
    assert [e.kind for e in events.after(before)] == ["model"]
    with pytest.raises(IntegrityError):
        change_that_fails(models)
    assert [v.version for v in models.visible(ANN)[0].versions] == [1]
    assert len(events.after(before)) == 1


def test_uses_are_seen_at_once_and_written_later(store: Store, models: Models, place: str) -> None:
    for name in ("m", "idle"):
        models.record(place, {**INFO, "model": name}, {}, ANN)
    model = models.get("m", ANN)
    assert model.last_used is None
    before = time.time()
    for note in (lambda: models.uses.note(model.id), lambda: models.uses.note_in(place, "m")):
        note()
        seen = models.get("m", ANN).last_used
        assert seen is not None
        assert seen >= before
        models.uses.tidy()
        assert Models(store).get("m", ANN).last_used == seen
    for elsewhere in (("0" * 12, "idle"), (place, "nothing"), (place, "x" * 5000)):
        models.uses.note_in(*elsewhere)
    models.uses.tidy()
    assert Models(store).get("idle", ANN).last_used is None


# -- notes of fits that are not recorded yet ---------------------------------------------------------------------------


def test_another_controller_records_what_was_noted(models: Models, place: str, tmp_path: Path) -> None:
    FitNotes(tmp_path / "fits", models).note(place, {"model": "m", "version": 3}, {"sharing": "app"}, POWER)
    FitNotes(tmp_path / "fits", models).replay()
    (model,) = models.visible(POWER)
    assert (model.name, model.owner, model.sharing, model.current.version) == ("m", "p", "app", 3)
    assert list((tmp_path / "fits").iterdir()) == []


def test_a_note_stays_until_the_store_takes_it(store: Store, models: Models, place: str, tmp_path: Path) -> None:
    FitNotes(tmp_path / "fits", models).note(place, {"model": "m", "version": 1}, {}, POWER)
    epoch, store.epoch = store.epoch, -1  # another controller took over
    FitNotes(tmp_path / "fits", models).replay()
    assert models.visible(POWER) == []
    store.epoch = epoch
    FitNotes(tmp_path / "fits", models).replay()
    assert [(model.name, model.owner) for model in models.visible(POWER)] == [("m", "p")]


def test_what_cannot_be_recorded_is_in_nobodys_way(models: Models, place: str, tmp_path: Path) -> None:
    notes = FitNotes(tmp_path / "fits", models)
    notes.note("0" * 12, {"model": "gone", "version": 1}, {}, POWER)
    notes.note(place, {"model": "../no name", "version": 1}, {}, POWER)
    notes.note(place, {"model": "m", "version": 1}, {}, POWER)
    (tmp_path / "fits" / "0.json").write_text('{"environment_id": "')
    FitNotes(tmp_path / "fits", models).replay()
    assert [model.name for model in models.visible(POWER)] == ["m"]
    assert list((tmp_path / "fits").iterdir()) == []


def test_what_may_not_be_shared_is_not_noted(models: Models, place: str, tmp_path: Path) -> None:
    with pytest.raises(Forbidden):
        FitNotes(tmp_path / "fits", models).note(place, {"model": "m"}, {"sharing": "app"}, ANN)
    assert list((tmp_path / "fits").iterdir()) == []
