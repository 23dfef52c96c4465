"""What an alert does when it fires. Each action gets the alert and its rows and says what it did, or raises."""

import ipaddress
import json
import os
import re
import smtplib
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter

from labdock.errors import Forbidden, LabdockError, NotFound, TransportError
from labdock.names import not_found
from labdock_controller.alerts.records import SavedSearch
from labdock_controller.settings import Settings
from labdock_search.data.indexes import Indexes
from labdock_search.data.ingest import IngestOptions, ingest

SENT_ROWS = 1_000
SCRIPT_SECONDS = 60
NOTABLE = "notable"
_SCRIPT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Fired:
    """An alert that fired: `rows` are at most `SENT_ROWS` of `total`."""

    saved: SavedSearch
    rows: list[dict[str, Any]]
    total: int
    time: float
    job: str
    link: str

    def payload(self) -> dict[str, Any]:
        """What webhooks and scripts get, as JSON."""
        return {
            "alert": self.saved.name,
            "owner": self.saved.owner,
            "app": self.saved.app,
            "search": self.saved.definition.search,
            "time": self.time,
            "rows": self.total,
            "results": self.rows,
            "truncated": self.total > len(self.rows),
            "link": self.link,
        }


class Actions:
    def __init__(self, settings: Settings, indexes: Indexes) -> None:
        self._settings, self._indexes = settings, indexes
        self._known = {"webhook": self._webhook, "email": self._email, "index": self._index, "script": self._script}

    def run(self, action: dict[str, Any], fired: Fired) -> str:
        """Do it; gives one line about what was done. Raises `LabdockError`."""
        return self._known[action["type"]](action, fired)

    def _webhook(self, action: dict[str, Any], fired: Fired) -> str:
        url = str(action["url"])
        address = resolve(url, self._settings.webhook_hosts)
        headers = {"Content-Type": "application/json", "User-Agent": "labdock"}
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", _Pinned(address))
            session.mount("https://", _Pinned(address))
            try:
                body = orjson.dumps(fired.payload(), default=str)
                answer = session.post(url, data=body, headers=headers, timeout=15, allow_redirects=False)
            except requests.RequestException as error:
                raise TransportError(
                    f"The webhook did not answer: {type(error).__name__}.", remedy="Check it."
                ) from None
        if not 200 <= answer.status_code < 300:
            raise TransportError(f"The webhook answered {answer.status_code}.", remedy="Check its address and its log.")
        return f"answered {answer.status_code}"

    def _email(self, action: dict[str, Any], fired: Fired) -> str:
        if not self._settings.smtp_host:
            raise NotFound("No mail server is set.", remedy="Set LABDOCK_SMTP_HOST.", kind="setting", name="smtp_host")
        to = action["to"] if isinstance(action["to"], list) else [action["to"]]
        message = EmailMessage()
        message["Subject"] = str(action.get("subject") or f"Alert: {fired.saved.name}").replace("\n", " ")
        message["From"] = self._settings.smtp_from
        message["To"] = ", ".join(str(each).replace("\n", "") for each in to)
        message.set_content(_text(fired))
        try:
            with smtplib.SMTP(self._settings.smtp_host, self._settings.smtp_port, timeout=15) as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise TransportError(
                f"The mail server did not take it: {error}.", remedy="Check LABDOCK_SMTP_HOST."
            ) from None
        return f"sent to {message['To']}"

    def _index(self, action: dict[str, Any], fired: Fired) -> str:
        index = str(action.get("index") or NOTABLE)
        field = str(action.get("risk_object") or "")
        with tempfile.TemporaryDirectory(prefix="labdock-notable-") as folder:
            path = Path(folder) / "notable.jsonl"
            with path.open("wb") as file:
                for number, row in enumerate(fired.rows):
                    file.write(orjson.dumps(self._notable(action, fired, row, field, number), default=str) + b"\n")
            options = IngestOptions(sourcetype=NOTABLE, source=fired.saved.name, time_field="_time", format="auto")
            report = ingest(self._indexes, [path], index, options)
        return f"{report.rows} events in {index}"

    def _notable(
        self, action: dict[str, Any], fired: Fired, row: dict[str, Any], field: str, number: int
    ) -> dict[str, Any]:
        """The row with the alert's time and name, and the risk that it adds to an object."""
        kept = {("event_time" if key == "_time" else key): value for key, value in row.items()}
        kept |= {"_time": fired.time, "search_name": fired.saved.name, "owner": fired.saved.owner, "number": number}
        kept["rule_title"] = str(action.get("title") or fired.saved.name)
        if field:
            kept |= {"risk_object": row.get(field), "risk_object_type": field}
            kept["risk_score"] = float(action.get("risk_score") or 0)
        return kept

    def _script(self, action: dict[str, Any], fired: Fired) -> str:
        """A program of the administrator's folder, with the payload on its standard input; nothing of a shell."""
        folder = self._settings.home / "scripts"
        name = str(action["name"])
        known = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        path = folder / name
        if not _SCRIPT.fullmatch(name) or name not in known or path.is_symlink() or not os.access(path, os.X_OK):
            raise not_found("script", name, known, f"Scripts are the executable files of {folder.name}/ in the home.")
        environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "LABDOCK_ALERT": fired.saved.name}
        try:
            done = subprocess.run(
                [str(path)], input=json.dumps(fired.payload(), default=str).encode(), env=environment,
                capture_output=True, timeout=SCRIPT_SECONDS, check=False, cwd=folder, start_new_session=True,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabdockError(f"The script {name} did not end well: {type(error).__name__}.") from None
        output = (done.stdout + done.stderr).decode("utf-8", "replace").strip()[-500:]
        if done.returncode:
            raise LabdockError(f"The script {name} ended with {done.returncode}: {output}", remedy="See its output.")
        return output or "done"


def resolve(url: str, allowed_hosts: list[str]) -> str:
    """The one address that a webhook's host has now. Raises `Forbidden` for private ones, `TransportError` for none.

    Resolved once and then pinned, so that a name cannot turn into an inner address between the check and the call.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise Forbidden(f"{url!r} is no address for a webhook.", remedy="Use http(s)://host/path, without a password.")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 0, type=socket.SOCK_STREAM)
    except OSError:
        raise TransportError(
            f"The host {parts.hostname} is not known.", remedy="Check the webhook's address."
        ) from None
    address = str(found[0][4][0])
    place = ipaddress.ip_address(address)
    if parts.hostname not in allowed_hosts and not place.is_global:
        raise Forbidden(
            f"Webhooks may not call the inner address of {parts.hostname}.",
            remedy="An administrator can allow the host: LABDOCK_WEBHOOK_HOSTS.",
            host=parts.hostname,
        )
    return address


class _Pinned(HTTPAdapter):
    """Connects to one address, whatever the name would resolve to now."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **named: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        host = f"[{self._address}]" if ":" in self._address else self._address
        port = f":{parts.port}" if parts.port else ""
        request.headers["Host"] = parts.netloc
        if parts.scheme == "https":
            self.poolmanager.connection_pool_kw |= {
                "server_hostname": parts.hostname,
                "assert_hostname": parts.hostname,
            }
        request.url = parts._replace(netloc=host + port).geturl()
        return super().send(request, *args, **named)


def _text(fired: Fired) -> str:
    lines = [f"{fired.saved.name} found {fired.total} rows.", "", fired.saved.definition.search, ""]
    lines += [", ".join(f"{key}={value}" for key, value in row.items()) for row in fired.rows[:50]]
    return "\n".join([*lines, "", fired.link]).rstrip() + "\n"
