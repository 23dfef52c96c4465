"""`%%labdock_search` in the kernel of a started environment: the owner's searches, and nothing else."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import Controller, controllers
from tests.waiting import wait_for
from websockets.sync.client import ClientConnection, connect

import labdock
from labdock.errors import TransportError

Headers = dict[str, str]


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    """Two indexes, of which `secret` is for administrators; the user anna."""
    with controllers() as make:
        controller = make()
        for index in ("open", "secret"):
            controller.ingest(index)
        assert controller("PATCH", "/api/indexes/secret", {"readers": ["role:admin"]}).status_code == 200
        yield controller


@pytest.fixture(scope="module")
def anna(lab: Controller) -> Headers:
    return lab.user("anna", "power")


def start(lab: Controller, owner: Headers, name: str, **more: Any) -> dict[str, Any]:
    answer = lab("POST", "/api/environments?wait=120", {"name": name, **more}, headers=owner)
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "running", answer.text
    found: dict[str, Any] = answer.json()
    return found


@dataclass
class Kernel:
    """A kernel behind JupyterLab of an environment."""

    lab: Controller
    id: str
    headers: Headers
    channels: contextlib.ExitStack

    def __post_init__(self) -> None:
        self.channel = self.open()

    def open(self) -> ClientConnection:
        base = f"{self.lab.url.replace('http', 'ws', 1)}/environments/hunting/jupyter/api/kernels/{self.id}"
        address = f"{base}/channels?session_id={uuid.uuid4().hex}"
        made = connect(address, origin=self.lab.url, additional_headers=self.headers, max_size=None)  # type: ignore[arg-type]
        return self.channels.enter_context(made)

    def run(self, code: str) -> str:
        """What a cell printed, showed or failed with."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": "s"}
        message = {
            "header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}, "channel": "shell",
            "buffers": [], "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
        }  # fmt: skip
        self.channel.send(json.dumps(message))
        shown, missing = "", {"execute_reply", "idle"}
        while missing:
            answer = json.loads(self.channel.recv(timeout=90))
            if answer["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            content = answer["content"]
            shown += content.get("text", "") if answer["msg_type"] == "stream" else ""
            shown += content.get("data", {}).get("text/plain", "")
            shown += "\n".join(content["traceback"]) if answer["msg_type"] == "error" else ""
            missing -= {answer["msg_type"], str(content.get("execution_state"))}
        return shown


@pytest.fixture(scope="module")
def kernel(lab: Controller, anna: Headers) -> Iterator[Kernel]:
    """A real kernel of a real environment of the local runtime, reached as a browser does."""
    start(lab, anna, "hunting", runtime="local")
    base = f"{lab.url}/environments/hunting/jupyter"
    made = requests.post(f"{base}/api/kernels", json={"name": "python3"}, headers=anna, timeout=60)
    assert made.status_code == 201, made.text
    with contextlib.ExitStack() as channels:
        ready = Kernel(lab, made.json()["id"], anna, channels)
        assert "labdock" not in ready.run("%load_ext labdock")
        yield ready


def test_a_notebook_searches_in_its_owners_name(lab: Controller, kernel: Kernel) -> None:
    shown = kernel.run("%%labdock_search --into found\nindex=open | stats count sum(n) as n by user")
    assert "1 rows, 2 read" in shown
    assert kernel.run("print(found.to_dict('records'))") == "[{'user': 'eve', 'count': 2, 'n': 3}]\n"
    mine = [job for job in lab("GET", "/api/searches").json() if job["user"] == "anna"]
    assert mine[-1]["status"] == "done"
    row = next(r for r in lab("GET", "/api/audit").json() if r["action"] == "POST /api/searches")
    assert (row["user"], row["via"]) == ("anna", "kernel")


def test_what_its_owner_may_not_read_is_not_there(lab: Controller, kernel: Kernel) -> None:
    shown = kernel.run("%labdock_search index=secret")
    assert "There is no index named 'secret'" in shown, shown
    assert lab("PATCH", "/api/indexes/secret", {"readers": ["role:admin", "user:anna"]}).status_code == 200
    assert "eve" in kernel.run("%labdock_search index=secret"), "rights are those of the moment"


def test_it_may_search_and_nothing_else(kernel: Kernel) -> None:
    asked = "import labdock; lab = labdock.connect(); me = lab.me(); print(me['user'], me['capabilities'], me['via'])"
    assert kernel.run(asked) == "anna ['search'] kernel\n"
    for call in ("lab.environments.list()", "lab.models.list()", "lab.sign_in_link()"):
        shown = kernel.run(call)
        assert "Forbidden" in shown, shown
        assert "LABDOCK_TOKEN" in shown, shown


def test_the_token_is_that_of_a_running_dev_environment(lab: Controller, anna: Headers) -> None:
    """Without the client: a wrong token, one in `prod`, one of a stopped environment."""
    for mode, status in (("dev", 200), ("prod", 403)):
        made = start(lab, anna, f"quick-{mode}", mode=mode)
        token = f"lde_{made['id']}_{(lab.run / made['id'] / 'token').read_text()}"
        assert me(lab, token).status_code == status
        for wrong in (token[:-1], f"lde_{made['id']}_", "lde_", f"lde_{'0' * 12}_x", f"{token}é".encode("latin-1")):
            assert me(lab, wrong).status_code == 401, wrong
        lab("POST", f"/api/environments/quick-{mode}/stop?wait=30")
        assert me(lab, token).status_code == 401


def test_an_owner_who_is_switched_off_searches_no_more(lab: Controller, anna: Headers, kernel: Kernel) -> None:
    assert lab("PATCH", "/api/users/anna", {"active": False}).status_code == 200
    try:
        assert "Unauthenticated" in kernel.run("%labdock_search index=open")
    finally:
        assert lab("PATCH", "/api/users/anna", {"active": True}).status_code == 200
    assert "eve" in kernel.run("%labdock_search index=open")


def test_a_token_set_by_hand_goes_before(lab: Controller, kernel: Kernel) -> None:
    kernel.run(f"%env LABDOCK_URL={lab.url}\n%env LABDOCK_TOKEN={lab.token}\n%reload_ext labdock")
    assert "eve" in kernel.run("%labdock_search index=secret | head 1")
    assert kernel.run("print(labdock.connect().me()['user'])") == "admin\n"
    kernel.run("import os; del os.environ['LABDOCK_URL'], os.environ['LABDOCK_TOKEN']\n%reload_ext labdock")
    assert kernel.run("print(labdock.connect().me()['user'])") == "anna\n"


def test_a_kernel_outlives_its_controller(kernel: Kernel, lab: Controller) -> None:
    """The last test here: another controller takes over, the environment and its kernel go on."""
    assert lab.end() == 0
    with controllers() as make:
        again = make(home_of=lab)
        wait_for(lambda: again.status("hunting") == "running", what="the environment's adoption")
        kernel.lab = again
        kernel.channel = kernel.open()
        assert "eve" in kernel.run("%labdock_search index=open")


@pytest.mark.parametrize(
    ("mode", "told"),
    [("prod", "dev environment"), ("dev", "LABDOCK_TOKEN=")],
)
def test_an_environment_without_a_way_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, told: str
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "token").write_text("t")
    variables = {"ENVIRONMENT_ID": "0" * 12, "ENVIRONMENT": "hunting", "RUN_FOLDER": str(run), "MODE": mode}
    for name in ("HOME", "URL", "TOKEN"):
        monkeypatch.delenv(f"LABDOCK_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"LABDOCK_{name}", value)
    with pytest.raises(TransportError, match="hunting") as caught:
        labdock.connect()
    assert told in caught.value.remedy


def me(lab: Controller, token: str | bytes) -> requests.Response:
    shown = token if isinstance(token, bytes) else token.encode()
    return requests.get(f"{lab.url}/api/me", headers={"Authorization": b"Bearer " + shown}, timeout=30)
