"""Every page with records that nobody writes any more, or that something else wrote: each is shown, none is a 500."""

import html
import itertools
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Controller, controllers, written
from sqlalchemy import select
from sqlalchemy.orm import Session

from labdock_controller.reconcile import Desired, Status
from labdock_controller.store.tables import (
    AlertRunRow,
    AuditRow,
    CredentialRow,
    EnvironmentRow,
    ModelRow,
    ModelVersionRow,
    SavedSearchRow,
    UserRow,
)

pytestmark = pytest.mark.slow
NOW = time.time()
IDS = (f"{n:012x}" for n in itertools.count(10**9))
TENSOR = {"name": "x", "type": "tensor(float)", "shape": [None, 2]}
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "e-plain": {},
    "e-limits": {"limits": {"cpus": None, "memory_mb": 0, "gone": [1]}},
    "e-words": {"limits": {"cpus": "two", "memory_mb": "much"}},
    "e-runtime": {"runtime": "no_more", "image": "no_more"},
    "e-mode": {"mode": "odd", "sharing": "odd"},
    "e-failed": {"status": Status.FAILED, "cause": "It ended.", "remedy": "", "log": "", "started": None},
    "e-guests": {"guests": ["0123456789ab"], "created": 0.0, "started": 0.0, "keep_until": 1e12},
    "e-owner": {"owner": "left"},
}
VERSIONS: dict[str, dict[str, Any]] = {
    "m-empty": {"features": [], "target": [], "params": {}, "metrics": {}, "lineage": {}},
    "m-nulls": {"params": {"threshold": None, "bytes": None, "schema": None}, "metrics": {"auc": None, "f1": True}},
    "m-words": {"params": {"threshold": "high", "bytes": "many", "schema": "none"}, "metrics": {"auc": "good"}},
    "m-schema": {"params": {"schema": {}}},
    "m-inputs": {"params": {"schema": {"inputs": [TENSOR]}}},
    "m-tensor": {"params": {"schema": {"inputs": [{}], "outputs": [{"name": "y"}, "z"]}}},
    "m-scalar": {"params": {"schema": {"inputs": [TENSOR | {"shape": None}], "outputs": [], "opset": None}}},
    "m-lineage": {"lineage": {"search": None, "code": {"sha": None}, "data": [1, None], "more": [{"a": 1}]}},
    "m-figures": {"metrics": {"auc": float("inf"), "loss": 1e300, "n": {"a": 1}}, "rows": None, "duration": None},
    "m-module": {"module": "", "module_sha256": "", "card": "<script>"},
}
MODELS: dict[str, dict[str, Any]] = {
    "m-none": {},
    "m-gone": {"current_version": 7, "aliases": {"champion": 9, "": 1}},
    "m-shared": {"sharing": "odd", "readers": ",no_more,", "writers": ",", "aliases": {}},
    "m-left": {"owner": "left", "last_used": 0.0},
}
DEFINITIONS: dict[str, dict[str, Any]] = {
    "a-search": {"search": "| makeresults"},
    "a-short": {"search": "| makeresults", "schedule": "1d", "gone": 1},
    "a-empty": {"schedule": "1d"},
    "a-condition": {"search": "| makeresults", "schedule": "1d", "condition": {"rows": "~", "value": None}},
    "a-nothing": {"search": "| makeresults", "schedule": "1d", "condition": {}, "throttle": {"fields": ["a"]}},
    "a-actions": {"search": "| makeresults", "schedule": "1d", "actions": [{"type": "pager"}, {}]},
}
RUNS: list[dict[str, Any]] = [
    {"status": "odd", "error": {}, "actions": [{}]},
    {"status": "failed", "error": {"message": "It failed."}, "actions": [{"type": "mail", "done": True}]},
    {"status": "quiet", "job": "0123456789ab", "actions": [{"message": "no type"}]},
]
LISTS = ["/lab", "/environments", "/search", "/data", "/alerts", "/alerts/notables", "/models", "/modules"]
LISTS += [f"/models?sort={key}" for key in ("owner", "kind", "sharing", "versions", "created", "used")]
LISTS += [f"/administration/{part}" for part in ("users", "roles", "tokens?everybody=true", "settings", "audit")]
PAGES = LISTS + [f"{place}{name}" for name in ENVIRONMENTS for place in ("/environments/", "/modules/")]
PAGES += [f"/models/{name}" for name in (*MODELS, *VERSIONS)] + [f"/alerts/{name}" for name in DEFINITIONS]


@pytest.fixture(scope="module")
def odd() -> Iterator[Controller]:
    with controllers() as make:
        yield make(home_of=written(make(), write))


def write(session: Session) -> None:
    """Straight into the store, past all that checks what is written."""
    owner = session.scalars(select(UserRow)).first()
    assert owner is not None
    session.add(UserRow(id=next(IDS), name="left", password_hash="", roles=["no_more"], active=False, created=0.0))
    session.flush()
    owners = {row.name: row.id for row in session.scalars(select(UserRow))}
    common = {"owner_id": owner.id, "app": "search", "created": NOW}

    def owned(given: dict[str, Any]) -> dict[str, Any]:
        more = {k: v for k, v in given.items() if k != "owner"}
        return {**common, **more, **({"owner_id": owners[given["owner"]]} if "owner" in given else {})}

    for name, given in ENVIRONMENTS.items():
        row: dict[str, Any] = {"runtime": "quick", "image": "", "mode": "dev", "limits": {}, "sharing": "user"}
        row |= {"desired": Desired.STOPPED, "status": Status.STOPPED}
        session.add(EnvironmentRow(id=next(IDS), name=name, **{**row, **owned(given)}))
    for at, (name, given) in enumerate({**MODELS, **{key: {} for key in VERSIONS}}.items()):
        identifier, kind = next(IDS), "module" if name in ("m-module", "m-gone") else "onnx"
        session.add(ModelRow(id=identifier, name=name, kind=kind, **{"sharing": "app", **owned(given)}))
        session.flush()
        if name in VERSIONS or name == "m-gone":
            version = {"features": ["x"], "target": ["y"], "params": {}, "metrics": {}} | VERSIONS.get(name, {})
            session.add(ModelVersionRow(id=next(IDS), model_id=identifier, version=at + 1, created=NOW, **version))
    for name, definition in DEFINITIONS.items():
        identifier = next(IDS)
        saved = {"sharing": "odd" if name == "a-search" else "app", "enabled": False, "throttled": {}}
        session.add(SavedSearchRow(id=identifier, name=name, definition=definition, **saved, **common))
        session.flush()
        for run in RUNS:
            row = {"started": NOW, "duration": 0.1, "rows": 0, "job": "", "error": None} | run
            session.add(AlertRunRow(id=next(IDS), saved_id=identifier, **row))
    session.add(
        CredentialRow(
            id=next(IDS), kind="token", user_id=owners["left"], hash="0", capabilities=["no_more"], created=0.0
        )
    )
    session.add(AuditRow(time=0.0, user="", via="odd", action="ODD", object="", status=0, request_id="", address=""))


@pytest.mark.parametrize("path", PAGES)
def test_the_page_shows_odd_records(odd: Controller, path: str) -> None:
    answer = odd("GET", path, headers={"Accept": "text/html"})
    said = re.findall(r'<div class="notice bad".*?</div>', answer.text, re.DOTALL)
    assert answer.status_code == 200, f"{said} {odd.text()[-2500:]}"
    name = path.rpartition("/")[2]
    if path not in LISTS:
        assert html.escape(name) in answer.text


def test_lists_hold_every_odd_record(odd: Controller) -> None:
    for path, names in {"/models": [*MODELS, *VERSIONS], "/environments": ENVIRONMENTS, "/alerts": DEFINITIONS}.items():
        text = odd("GET", path, headers={"Accept": "text/html"}).text
        assert [name for name in names if name not in text] == []
