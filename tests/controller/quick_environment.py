"""A small real environment for tests of the controller: answers like one, starts in a fraction of a second.

`--slow S`: silent for S seconds. `--never`: never answers. `--dies-after S`: ends by itself with `--code C`.
`--stubborn`: ignores SIGTERM. `--children N`: that many children, one of them with a cleaned environment.
"""

import argparse
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

RUN = Path(os.environ["LABDOCK_RUN_FOLDER"])
TOKEN = (RUN / "token").read_text()
STARTED = time.time()
MODELS = Path(os.environ["LABDOCK_NOTEBOOKS"]) / "models.json"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/v1/outbox":
            with (Path(os.environ["LABDOCK_NOTEBOOKS"]) / "outbox-asked").open("a") as asked:
                asked.write("x")
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.headers.get("Authorization", "").partition(" ")[2] != TOKEN:
            self.answer(401, {"code": "unauthenticated"})
        elif self.path in ("/v1/models", "/v1/modules", "/v1/jobs", "/v1/outbox"):
            said = MODELS.with_name(self.path.rpartition("/")[2] + ".json")
            self.answer(200, json.loads(said.read_text()) if said.exists() else [])
        elif self.path == "/v1/activity":
            idle = Path(os.environ["LABDOCK_NOTEBOOKS"]) / "idle"
            last = 0.0 if idle.exists() else time.time()
            self.answer(200, {"last_request": last, "kernels": 0, "last_kernel_activity": last})
        else:
            self.answer(200, {"pid": os.getpid(), "started": STARTED})

    def do_POST(self) -> None:
        """Whatever is fitted is version 1 of the model that was asked for."""
        self.rfile.read(int(self.headers["Content-Length"]))
        record = {"model": json.loads(self.headers["Labdock-Options"])["model"], "version": 1}
        self.answer(200, {}, {"Labdock-Job": "j1", "Labdock-Record": json.dumps(record)})

    def do_DELETE(self) -> None:
        self.answer(204, None)

    def answer(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def listen(name: str) -> None:
    path = RUN / name
    path.unlink(missing_ok=True)
    server = Server(str(path), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--slow", type=float, default=0)
    parser.add_argument("--never", action="store_true")
    parser.add_argument("--dies-after", type=float)
    parser.add_argument("--code", type=int, default=3)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--children", type=int, default=0)
    given = parser.parse_args()
    end = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if given.stubborn else lambda *_: end.set())
    for number in range(given.children):
        clean = {"env": {}} if number == 0 else {}
        subprocess.Popen(["/bin/sleep", "1000"], **clean)
    print("one line of log", flush=True)
    time.sleep(given.slow)
    if not given.never:
        for name in ("api.sock", "jupyter.sock"):
            listen(name)
        print("listening", flush=True)
    if end.wait(given.dies_after):
        os._exit(0)
    print("about to die", flush=True)
    os._exit(given.code)


if __name__ == "__main__":
    sys.exit(main())
