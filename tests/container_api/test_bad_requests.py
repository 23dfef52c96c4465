"""Bodies, names and options that are wrong: each is refused by name, and leaves nothing behind."""

import json
import os
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

ARROW = "application/vnd.apache.arrow.stream"

MODULE = """
    import pandas as pd
    def init(df, param): return 0
    def fit(model, df, param): return {"rows": len(df)}
    def apply(model, df, param): return pd.DataFrame({"rows": [len(df)] * len(df)})
"""


@pytest.fixture(scope="module")
def strict(start_api):
    api = start_api(LABDOCK_MAX_BODY_MB="4", LABDOCK_MAX_INPUTS="5000", LABDOCK_BODY_SILENCE="1", LABDOCK_WORKERS="1")
    api.module("module", MODULE)
    assert fit(api, table(2)).status == 200
    return api


@pytest.fixture(autouse=True)
def nothing_is_left(strict):
    """After each test the spool is empty, no body is open, and a fit works."""
    yield
    assert fit(strict, table(2)).info["info"] == {"rows": 2}
    deadline = time.monotonic() + 5
    while list((strict.run / "spool").iterdir()) or open_bodies(strict):
        assert time.monotonic() < deadline, (list((strict.run / "spool").iterdir()), open_bodies(strict))
        time.sleep(0.02)


def open_bodies(api):
    found = []
    for entry in Path(f"/proc/{api.process.pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if "/spool/" in target:
            found.append(target)
    return found


def table(n=3):
    return pa.table({"x": np.arange(n, dtype=float)})


def arrow_bytes(rows):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def fit(api, rows=None, **more):
    return api.frame("fit", rows, **{"algo": "module", "model": "model", **more})


def refused(reply, status, code, *words):
    assert (reply.status, reply.json["code"]) == (status, code), reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["status"] == status
    assert reply.json["remedy"], reply.json
    for word in words:
        assert word in reply.json["detail"] + reply.json["remedy"], reply.json


def test_an_unknown_module_names_the_nearest(strict):
    reply = fit(strict, table(), algo="modul")
    refused(reply, 404, "not-found", "Did you mean 'module'?")
    assert reply.json["details"]["nearest"] == "module"


def test_an_unknown_model_names_the_nearest(strict):
    refused(strict.frame("apply", table(), model="modle"), 404, "not-found", "Did you mean 'model'?")


def test_a_syntax_error_names_its_line(strict):
    strict.module("broken", "def init(df, param):\n    return (\n")
    reply = fit(strict, table(), algo="broken")
    refused(reply, 422, "module-error", "syntax error")
    assert reply.json["details"]["line"] == 2


@pytest.mark.parametrize("function", ["init", "fit", "apply"])
def test_a_missing_function_is_named(strict, function):
    strict.module("partial", MODULE.replace(f"def {function}(", f"def not_{function}("))
    refused(fit(strict, table(), algo="partial"), 422, "module-error", function)


NAMES = ["a/b", "..", "../etc", ".", "", "a\0b", "x" * 300, "mоdel", "a b", "a;b", "-rf", "модель", "a.b", "a\nb", "ａ"]


def everything(api):
    """All paths but jobs and the versions of `model`, which come and go by themselves."""
    own = api.notebooks / "models" / "model"
    found = (Path(root, name) for root, folders, files in os.walk(api.folder) for name in [*folders, *files])
    return sorted(str(p) for p in found if "jobs" not in p.parts and own not in p.parents)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("action", ["stage", "fit", "apply", "summary"])
def test_hostile_names_are_refused(strict, action, name):
    before = everything(strict)
    reply = strict.frame(action, table(), algo="module", model=name)
    refused(reply, 422, "invalid-name")
    if name:
        refused(strict.frame(action, table(), algo=name, model="model"), 422, "invalid-name")
    assert everything(strict) == before


@pytest.mark.parametrize("name", ["..", "a/b", "%2e%2e", "..%2F..%2Fetc", "x" * 300, "a%00b", "%D0%BC"])
def test_hostile_names_in_paths_are_refused(strict, name):
    for method, path in [("GET", "/v1/models/{}"), ("DELETE", "/v1/models/{}"), ("POST", "/v1/modules/{}/export")]:
        reply = strict.request(method, path.format(name))
        assert reply.status in (404, 405, 422), (method, path, reply)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"algorithm": "m"}', "Unknown option 'algorithm'"),
        ('{"features": "x"}', "'features' is a str"),
        ('{"features": [1]}', "'features' holds 1"),
        ('{"algo": "module", "limits": {"max_fit_tim": 1}}', "Unknown limit"),
        ('{"algo": "module", "limits": {"max_fit_time": -1}}', "'max_fit_time' is -1"),
        ('{"algo": "module", "limits": {"max_fit_time": "1"}}', "'max_fit_time' is '1'"),
        ("{}", "algo"),
    ],
)
def test_wrong_options_are_named(strict, options, words):
    reply = strict.request("POST", "/v1/fit", arrow_bytes(table()), {"Labdock-Options": options, "Content-Type": ARROW})
    refused(reply, 422, "invalid-options", words)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream", "", "text/csv2"])
def test_a_wrong_content_type(strict, kind):
    refused(fit(strict, table(), content_type=kind), 415, "invalid-frame", "Content-Type")


def test_parameters_of_the_content_type_are_fine(strict):
    assert fit(strict, body=b"x\n1\n", content_type="Text/CSV; charset=utf-8").status == 200


@pytest.mark.parametrize("kind", [ARROW, "text/csv"])
def test_an_empty_body(strict, kind):
    refused(fit(strict, body=b"", content_type=kind), 422, "invalid-frame", "empty")


def damaged():
    whole = arrow_bytes(pa.table({"x": np.arange(1000.0), "s": [f"text {i}" for i in range(1000)]}))
    yield "garbage", b"\xff\x00garbage" * 50
    yield "cut", whole[:-3000]
    yield "cut-in-schema", whole[:50]
    yield "length", b"\xff\xff\xff\xff\xff\xff\xff\x7f" + whole[8:]
    yield "csv", b"a,b\n1,2\n"
    rows = pa.table({"s": ["aaaa", "bbbb"]})
    body = bytearray(arrow_bytes(rows))
    at = body.find(struct.pack("<iii", 0, 4, 8))
    for name, offsets in [("offsets-beyond", (0, 4, 1 << 30)), ("offsets-back", (0, 8, 4)), ("negative", (-9, 4, 8))]:
        broken = bytearray(body)
        broken[at : at + 12] = struct.pack("<iii", *offsets)
        yield name, bytes(broken)
    yield "not-utf8", bytes(body).replace(b"aaaabbbb", b"\xff\xfe\xfd\xfcbbbb")
    coded = pa.table({"d": pa.array(["p", "q", "p"]).dictionary_encode()})
    body = bytearray(arrow_bytes(coded))
    at = body.rfind(struct.pack("<iii", 0, 1, 0))
    body[at : at + 12] = struct.pack("<iii", 0, 1 << 20, 0)
    yield "dictionary", bytes(body)


@pytest.mark.parametrize(("name", "body"), [pytest.param(n, b, id=n) for n, b in damaged()])
def test_damaged_arrow_streams(strict, name, body):
    refused(fit(strict, body=body), 422, "invalid-frame", "Arrow stream")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"a,b\n1,2\n3,4,5\n", "Line 3 of the CSV has 3 fields; the header has 2"),
        (b"a,b\n1\n", "Line 2 of the CSV has 1 fields"),
        (b"a,b\n1,2\n\xff\xfe,2\n", "Line 3 of the CSV is not UTF-8"),
        (b"\xff\xfe,b\n1,2\n", "header is not UTF-8"),
        (b'a,b\n1,"open\n2,3\n', "never closed"),
        (b"a,a\n1,2\n", "Duplicate column names: 'a'"),
        (b"a,,c\n1,2,3\n", "Column 2 has an empty name"),
        (b"\n\n", "no header"),
    ],
)
def test_damaged_csv(strict, body, words):
    refused(fit(strict, body=body, content_type="text/csv"), 422, "invalid-frame", words)


def test_duplicate_and_empty_columns_are_named(strict):
    twice = pa.Table.from_arrays([pa.array([1.0])] * 3, names=["x", "y", "x"])
    reply = fit(strict, twice)
    refused(reply, 422, "invalid-frame", "Duplicate column names: 'x'")
    assert reply.json["details"]["columns"] == ["x"]
    refused(fit(strict, pa.Table.from_arrays([pa.array([1.0])], names=[" "])), 422, "invalid-frame", "empty name")
    refused(fit(strict, pa.table({})), 422, "invalid-frame", "no columns")


def test_a_missing_column_names_the_nearest(strict):
    reply = fit(strict, pa.table({"EventCode": [1.0]}), features=["EventCod"])
    refused(reply, 422, "invalid-frame", "no column 'EventCod' (did you mean 'EventCode'?)")


def test_too_many_rows(strict):
    reply = fit(strict, table(5001))
    refused(reply, 413, "limit-exceeded", "5,001 rows", "LABDOCK_MAX_INPUTS")
    assert reply.json["details"] == {
        "limit": "max_inputs",
        "value": 5000,
        "setting": "LABDOCK_MAX_INPUTS",
        "output": "",
    }
    assert fit(strict, table(5001), limits={"max_inputs": 6000}).status == 200


def test_an_oversized_body(strict):
    reply = fit(strict, body=b"x" * ((4 << 20) + 1))
    refused(reply, 413, "limit-exceeded", "4 MB", "LABDOCK_MAX_BODY_MB")


def raw(api, head, *parts, read=True):
    """Send bytes as they are; the answer's bytes, or nothing where the client leaves."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(api.socket))
        fields = f"Authorization: Bearer {api.token}\r\nContent-Type: {ARROW}\r\n"
        options = json.dumps({"algo": "module", "model": "model"})
        sock.sendall(f"POST /v1/fit HTTP/1.1\r\nHost: x\r\nLabdock-Options: {options}\r\n{fields}{head}\r\n".encode())
        for part in parts:
            sock.sendall(part)
        answer = b""
        while read and (piece := sock.recv(65536)):
            answer += piece
            if b"\r\n\r\n" in answer and b"}" in answer:
                break
        return answer


def chunked(body):
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def test_an_oversized_body_that_does_not_say_so(strict):
    """Without a length the limit is found while it comes, not at its end."""
    piece = chunked(b"x" * (1 << 20))
    answer = raw(strict, "Transfer-Encoding: chunked\r\n", *[piece] * 5)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body(strict):
    body = arrow_bytes(table(100))
    pieces = [chunked(body[i : i + 777]) for i in range(0, len(body), 777)]
    answer = raw(strict, "Transfer-Encoding: chunked\r\nConnection: close\r\n", *pieces, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_expect_100_continue(strict):
    body = arrow_bytes(table(100))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(strict.socket))
        options = json.dumps({"algo": "module", "model": "model"})
        sock.sendall(
            f"POST /v1/fit HTTP/1.1\r\nHost: x\r\nLabdock-Options: {options}\r\nContent-Type: {ARROW}\r\n"
            f"Authorization: Bearer {strict.token}\r\nContent-Length: {len(body)}\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(body)
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_body_in_the_smallest_pieces_and_two_requests_in_one(strict):
    """The short way into the spool meets every split between headers, body and the next request."""
    body = arrow_bytes(table(3))
    options = json.dumps({"algo": "module", "model": "model"})
    head = (
        f"POST /v1/fit HTTP/1.1\r\nHost: x\r\nLabdock-Options: {options}\r\nContent-Type: {ARROW}\r\n"
        f"Authorization: Bearer {strict.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    stream = (head + body) * 3
    for cuts in (
        [len(head)],
        [len(head) + 1],
        [len(head) + len(body)],
        [len(head) + len(body) + 5],
        list(range(0, 3000, 97)),
    ):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(strict.socket))
            begin = 0
            for cut in [*cuts, len(stream)]:
                sock.sendall(stream[begin:cut])
                begin = max(begin, cut)
                time.sleep(0.002)  # so that the pieces arrive apart; nothing depends on it
            answers = b""
            while answers.count(b"HTTP/1.1 200 ") < 3:
                piece = sock.recv(65536)
                assert piece, answers[-500:]
                answers += piece
            assert answers.count(b"HTTP/1.1 ") == 3


@pytest.mark.parametrize("sent", [0, 1, 100, 200_000])
def test_a_body_cut_off(strict, sent):
    """The client dies in the middle; nothing of it is seen by anybody."""
    body = arrow_bytes(table(40_000))[:300_000]
    before = {job["id"] for job in strict.request("GET", "/v1/jobs").json}
    raw(strict, f"Content-Length: {len(body)}\r\n", body[:sent], read=False)
    raw(strict, "Transfer-Encoding: chunked\r\n", chunked(body[:sent]) if sent else b"", read=False)
    # Old jobs may be forgotten meanwhile; none may have come.
    assert {job["id"] for job in strict.request("GET", "/v1/jobs").json} <= before


@pytest.mark.parametrize("head", ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_silent_client_is_told_so(strict, head):
    begun = time.monotonic()
    answer = raw(strict, head, b"3\r\nabc\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"No byte of the body came for 1 s" in answer
    assert 0.9 < time.monotonic() - begun < 5


def test_a_slow_client_that_goes_on_is_served(strict):
    body = arrow_bytes(table(3))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(strict.socket))
        options = json.dumps({"algo": "module", "model": "model"})
        sock.sendall(
            f"POST /v1/fit HTTP/1.1\r\nHost: x\r\nLabdock-Options: {options}\r\nContent-Type: {ARROW}\r\n"
            f"Authorization: Bearer {strict.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        for i in range(4):
            time.sleep(0.5)  # half of the silence that is allowed, twice as long in all
            sock.sendall(body[i * 100 : (i + 1) * 100])
        sock.sendall(body[400:])
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_slow_clients_do_not_hold_others_up(strict):
    done = threading.Event()
    threads = [
        threading.Thread(target=lambda: (raw(strict, "Content-Length: 1000\r\n", b"x"), done.set())) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    assert fit(strict, table(2)).status == 200
    assert not done.is_set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("name", ["../token", "a/b", "", ".", "x" * 200, "absent"])
def test_spool_names(strict, name):
    reply = fit(strict, headers={"Labdock-Spool": name})
    assert reply.json["code"] == ("not-found" if name == "absent" else "invalid-name")


def test_only_regular_files_are_taken_from_the_spool(strict):
    spool = strict.run / "spool"
    (strict.run / "secret").write_bytes(arrow_bytes(table()))
    (spool / "symbolic").symlink_to(strict.run / "secret")
    os.link(strict.run / "secret", spool / "hard")
    os.mkfifo(spool / "pipe")
    (spool / "folder").mkdir()
    for name in ("symbolic", "hard", "pipe", "folder"):
        refused(fit(strict, headers={"Labdock-Spool": name}), 422, "invalid-name")
    (spool / "folder").rmdir()
    assert (strict.run / "secret").exists()
    (strict.run / "secret").unlink()


def test_an_idempotency_key_is_checked(strict):
    for key in ("", "a b", "x" * 129, "a/b", ".."):
        refused(fit(strict, table(), headers={"Idempotency-Key": key}), 422, "invalid-name")


def test_unknown_paths_and_methods(strict):
    assert strict.request("GET", "/v1/nothing").status == 404
    assert strict.request("GET", "/v1/fit").status == 404
    assert strict.request("PUT", "/v1/models").status == 405
    assert strict.request("GET", "/v1/jobs/absent").json["code"] == "not-found"


def test_the_log_holds_no_token_and_no_values(strict):
    fit(strict, table(), params={"password": "canary-in-params"})
    log = strict.log.read_text()
    assert "module=module" in log
    assert strict.token not in log
    assert "canary" not in log
