"""What a search may read and do: an index's readers, and the restriction of the token that asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import TWO_EVENTS, Controller, controllers
from onnx_files import linear

Headers = dict[str, str]


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    """Two indexes, `open` and `secret`; users bob (user) and pia (power)."""
    with controllers() as make:
        controller = make()
        for index in ("open", "secret"):
            controller.ingest(index)
        yield controller


@pytest.fixture(scope="module")
def bob(lab: Controller) -> Headers:
    return lab.user("bob", "user", "mltk_model_admin")


@pytest.fixture(scope="module")
def pia(lab: Controller) -> Headers:
    return lab.user("pia", "power")


@pytest.fixture
def secret(lab: Controller) -> Iterator[str]:
    """Only for `power`, while the test runs."""
    restrict(lab, ["role:power"])
    yield "secret"
    restrict(lab, None)


@pytest.fixture(scope="module")
def searcher(lab: Controller) -> Headers:
    """The administrator's own token, restricted to searching."""
    return bearer(lab("POST", "/api/tokens", {"name": "searcher", "capabilities": ["search"]}))


def bearer(answer: requests.Response) -> Headers:
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def restrict(lab: Controller, readers: list[str] | None) -> None:
    answer = lab("PATCH", "/api/indexes/secret", {"readers": readers})
    assert answer.status_code == 200, answer.text
    assert answer.json()["readers"] == readers


def search(lab: Controller, text: str, headers: Headers | None = None) -> dict[str, Any]:
    """The ended job, or the problem that refused it."""
    answer = lab("POST", "/api/searches?wait=60", {"search": text}, headers=headers)
    found: dict[str, Any] = answer.json()
    return found


def rows(lab: Controller, text: str, headers: Headers | None = None) -> list[dict[str, Any]]:
    job = search(lab, text, headers)
    assert job.get("status") == "done", job
    page = lab("GET", f"/api/searches/{job['id']}/page", headers=headers).json()
    found: list[dict[str, Any]] = page["rows"]
    return found


def code(found: dict[str, Any]) -> str:
    """Why it was refused, at once or while it ran."""
    return str((found.get("error") or found)["code"])


@pytest.mark.parametrize(
    "text",
    [
        "index=secret",
        "index=open | append [search index=secret]",
        "index=open [search index=secret | fields user]",
        "index=open | join user [search index=secret]",
        "| tstats count where index=secret",
    ],
)
def test_an_index_for_others_does_not_exist(lab: Controller, bob: Headers, secret: str, text: str) -> None:
    refused = search(lab, text, bob)
    assert code(refused) == "not-found"
    absent = search(lab, text.replace("secret", "absent"), bob)
    assert code(absent) == "not-found", "and it looks like one that is not there"
    assert (refused.get("error") or refused)["remedy"] == (absent.get("error") or absent)["remedy"]


def test_wildcards_lists_and_completion_leave_it_out(lab: Controller, bob: Headers, pia: Headers, secret: str) -> None:
    assert rows(lab, "index=* | stats count", bob) == [{"count": 2}]
    assert rows(lab, "index=* | stats count", pia) == [{"count": 4}]
    assert rows(lab, "NOT index=open | stats count", bob) == [{"count": 0}]
    assert [i["name"] for i in lab("GET", "/api/indexes", headers=bob).json()] == ["open"]
    assert lab("GET", "/api/indexes/secret", headers=bob).status_code == 404
    assert lab("POST", "/api/searches/explain", {"search": "index=secret"}, headers=bob).status_code == 404
    for who, offered in ((bob, []), (pia, ["secret"])):
        asked = {"search": "index=sec", "position": 9}
        found = lab("POST", "/api/searches/complete", asked, headers=who).json()
        assert [c["text"] for c in found] == offered


def test_readers_count_from_the_next_search_on(lab: Controller, bob: Headers, secret: str) -> None:
    assert code(search(lab, "index=secret", bob)) == "not-found"
    restrict(lab, ["role:power", "user:bob"])
    assert rows(lab, "index=secret | stats count", bob) == [{"count": 2}]
    restrict(lab, [])
    assert code(search(lab, "index=secret", bob)) == "not-found"
    assert rows(lab, "index=secret | stats count") == [{"count": 2}], "who configures searches everything"


def test_who_may_say_who_reads(lab: Controller, bob: Headers) -> None:
    assert lab("PATCH", "/api/indexes/open", {"readers": []}, headers=bob).status_code == 403
    for readers in (["bob"], ["role:owner"], ["group:x"]):
        assert lab("PATCH", "/api/indexes/open", {"readers": readers}).status_code == 422
    assert lab("PATCH", "/api/indexes/open", {"readers": ["user:nobody"]}).status_code == 404
    assert lab("PATCH", "/api/indexes/absent", {"readers": []}).status_code == 404
    kept = lab("PATCH", "/api/indexes/open", {"retention_days": 30}).json()
    assert (kept["retention_days"], kept["readers"]) == (30, None)
    assert lab("PATCH", "/api/indexes/open", {"retention_days": 0}).status_code == 422
    assert lab("PATCH", "/api/indexes/open", {"retention_days": None}).json()["retention_days"] is None


def test_readers_survive_the_controller_and_more_events(lab: Controller, bob: Headers, secret: str) -> None:
    query = {"file_name": "more.csv", "sourcetype": "audit"}
    lab("POST", "/api/indexes/secret/ingest", data=TWO_EVENTS + b"1600000120,eve,3\n", params=query)
    assert '"readers"' in (lab.home / "indexes" / "secret" / "manifest.log").read_text()
    assert code(search(lab, "index=secret", bob)) == "not-found"


def test_an_alert_reads_what_its_owner_may_read_now(lab: Controller, bob: Headers) -> None:
    saved = {"search": "index=secret | stats count", "schedule": "1d"}
    assert lab("PUT", "/api/saved-searches/watch", saved, headers=bob).status_code == 200
    assert lab("POST", "/api/saved-searches/watch/run", headers=bob).json()["status"] == "fired"
    restrict(lab, ["role:power"])
    refused = lab("POST", "/api/saved-searches/watch/run", headers=bob).json()
    assert (refused["status"], refused["error"]["code"]) == ("failed", "not-found")
    started_by_another = lab("POST", "/api/saved-searches/watch/run").json()
    assert started_by_another["status"] == "failed", "the administrator runs it with its owner's rights"
    restrict(lab, None)
    assert lab("POST", "/api/saved-searches/watch/run", headers=bob).json()["status"] == "fired"


def test_a_restricted_token_narrows_what_its_search_reads(lab: Controller, searcher: Headers, secret: str) -> None:
    full = search(lab, "index=secret | stats count")
    assert full["status"] == "done"
    assert code(search(lab, "index=secret | stats count", searcher)) == "not-found"
    assert lab("GET", f"/api/searches/{full['id']}", headers=searcher).status_code == 404
    assert lab("GET", f"/api/searches/{full['id']}/results", headers=searcher).status_code == 404
    own = search(lab, "index=open | stats count", searcher)
    assert lab("GET", f"/api/searches/{own['id']}", headers=searcher).json()["rows"] == 1
    assert rows(lab, "| makeresults | eval a=1 | table a", searcher) == [{"a": 1}]


def test_a_restricted_token_writes_no_lookup_of_others(lab: Controller, bob: Headers, searcher: Headers) -> None:
    added = lab("POST", "/api/lookups?name=bobs.csv", data=b"a\n1\n", headers=bob)
    assert added.status_code == 201, added.text
    # Shared by the administrator, who may: bob lacks share_app.
    registry = lab("PUT", "/api/lookups/bobs.csv/sharing", {"sharing": "app"}, headers=bob)
    assert registry.status_code == 403
    shared = lab("POST", "/api/lookups?name=ours.csv&sharing=app", data=b"a\n1\n", headers=lab.user("liz", "power"))
    assert shared.status_code == 403, "power may share but not upload"
    mixed = lab.user("max", "power", "mltk_model_admin")
    assert lab("POST", "/api/lookups?name=ours.csv&sharing=app", data=b"a\n1\n", headers=mixed).status_code == 201
    assert code(search(lab, "| makeresults | eval a=2 | table a | outputlookup ours.csv", searcher)) == "forbidden"
    assert rows(lab, "| inputlookup ours.csv") == [{"a": 1}]
    assert search(lab, "| makeresults | eval a=2 | table a | outputlookup ours.csv")["status"] == "done"
    assert rows(lab, "| inputlookup ours.csv") == [{"a": 2}]


def test_a_restricted_token_sees_no_model_of_others(
    lab: Controller, bob: Headers, searcher: Headers, tmp_path: Path
) -> None:
    file = linear([2.0], tmp_path / "m.onnx").read_bytes()
    form = {"name": "bobs_line", "features": "a", "target": "y"}
    assert lab("POST", "/api/models/onnx", data=file, params=form, headers=bob).status_code == 201
    text = "| makeresults | eval a=3 | apply onnx:bobs_line | table predicted(y)"
    assert rows(lab, text, bob) == [{"predicted(y)": 6.0}]
    assert rows(lab, text) == [{"predicted(y)": 6.0}], "the administrator sees everybody's"
    assert code(search(lab, text, searcher)) == "not-found"
    assert code(search(lab, "| deletemodel onnx:bobs_line", searcher)) == "not-found"
    assert rows(lab, text, bob) == [{"predicted(y)": 6.0}]


def test_a_restricted_token_starts_no_environment(lab: Controller, searcher: Headers) -> None:
    both = {"name": "sees", "capabilities": ["search", "list_environments"]}
    seeing = bearer(lab("POST", "/api/tokens", both))
    lab.start("__dev__")
    assert lab("POST", "/api/environments/__dev__/stop?wait=30").status_code == 200
    text = "| makeresults | eval a=1 | fit MLTKContainer algo=x a into m"
    assert code(search(lab, text, searcher)) == "not-found"
    refused = search(lab, text, seeing)
    assert code(refused) == "forbidden"
    assert "control_environments" in refused["error"]["detail"]
    assert lab.status("__dev__") == "stopped"


def test_what_is_no_command_writes_nothing(lab: Controller, searcher: Headers) -> None:
    """`collect`, `sendemail`, `script` of the peer: refused by name, whatever the rights."""
    for text in ("| makeresults | collect index=open", "| makeresults | sendemail to=x@y.z", "| script python x"):
        assert code(search(lab, text, searcher)) == "search-error"


def test_a_token_without_search_starts_none(lab: Controller) -> None:
    headers = bearer(lab("POST", "/api/tokens", {"name": "looker", "capabilities": ["list_environments"]}))
    assert lab("POST", "/api/searches", {"search": "index=open"}, headers=headers).status_code == 403
