"""Whatever is sent to the API as it describes itself: no 5xx, every answer as described, every error a problem."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

# Ends or locks out the session that asks; covered in test_access.py.
LEFT_OUT = {"/api/sign-out", "/api/me/password", "/sign-in", "/api/events", "/api/hec"}
EXAMPLES = 5


def test_no_request_as_described_fails_the_controller(controller: Any) -> None:
    document = controller("GET", "/api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    failures: list[str] = []
    headers = {"Authorization": f"Bearer {controller.token}"}
    covered = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in LEFT_OUT or operation.path.startswith("/services"):
            continue
        covered += 1

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            if isinstance(case.query, dict):
                case.query.pop("wait", None)  # waiting is covered elsewhere
                case.query.pop("follow", None)
            answer = case.call(base_url=controller.url, headers=headers, timeout=60)
            if answer.status_code >= 500 and answer.status_code != 503:
                failures.append(f"{case.method} {case.formatted_path}: {answer.status_code} {answer.text[:300]}")
            # A page's errors are pages where a browser asks.
            if answer.status_code >= 400 and (case.path.startswith("/api/") or "json" in str(answer.headers)):
                problem = answer.json()
                assert problem["status"] == answer.status_code, answer.text
                assert problem["code"]

        send()
    assert failures == []
    assert covered > 30
    assert controller("GET", "/api/me").status_code == 200
    assert "Traceback" not in controller.text()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    ),
    path=st.sampled_from(["/api/environments", "/api/users", "/api/tokens", "/api/tickets", "/sign-in"]),
)
def test_any_json_is_refused_or_understood(shared_controller: Any, body: Any, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shared_controller.http.post(
        f"{shared_controller.url}{path}", data=json.dumps(body), headers=headers, timeout=60, allow_redirects=False
    )
    assert answer.status_code in (201, 401, 404, 409, 422, 429), answer.text


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=40),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
)
def test_any_path_is_refused_or_understood(shared_controller: Any, path: str, method: str) -> None:
    from urllib.parse import quote

    url = f"{shared_controller.url}/api/environments/{quote(path, safe='/%')}"
    answer = shared_controller.http.request(method, url, timeout=60)
    assert answer.status_code in (200, 204, 400, 404, 405, 422), answer.text


def _bounded(schema: Any, document: Any, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Where a schema takes a whole number that may be larger than what the store and JSON's readers keep."""
    if isinstance(schema, list):
        for part in schema:
            yield from _bounded(part, document, seen)
    if not isinstance(schema, dict):
        return
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and name not in seen:
        yield from (f"{name}.{at}" for at in _bounded(document["components"]["schemas"][name], document, seen | {name}))
    if schema.get("type") == "integer" and not {"maximum", "exclusiveMaximum", "const", "enum"} & set(schema):
        yield ""
    for key, value in schema.items():
        if isinstance(value, dict | list) and key not in ("example", "examples", "default"):
            yield from (f"{key}.{at}" for at in _bounded(value, document, seen))


def test_every_whole_number_that_a_request_may_carry_has_a_bound(controller: Any) -> None:
    document = controller("GET", "/api/openapi.json").json()
    found = [
        f"{method} {path}: {at}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for part in ("parameters", "requestBody")
        for at in _bounded(operation.get(part), document)
    ]
    assert found == []


@pytest.mark.parametrize("offset", [2**53, 2**63, 10**30])
def test_a_page_beyond_every_row_is_empty_or_refused(controller: Any, offset: int) -> None:
    answer = controller("GET", f"/api/models?offset={offset}")
    assert answer.status_code == (200 if offset <= 2**53 else 422)
