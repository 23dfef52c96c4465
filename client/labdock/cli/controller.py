"""`labdock up | down`."""

import contextlib
import hashlib
import signal
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from labdock import controller
from labdock.cli import options
from labdock.cli.output import note, say, show_json, show_pairs
from labdock.errors import InvalidOptions, LabdockError, TransportError
from labdock.home import ControllerAddress, home
from labdock.lab import Lab
from labdock.progress import Activity


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Go on in the background once it is ready.")] = False,
    runtime: Annotated[str | None, typer.Option(help="Where environments run unless told otherwise.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="8420 by default; 0 picks a free one.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Speak HTTPS; makes a certificate where none is given.")] = False,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="A certificate (PEM) for HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="The certificate's key (PEM).")] = None,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Start the controller of this machine.

    Example: labdock up -d
    """
    of = home()
    already = controller.running(of)
    if already is not None:
        _show(already, already_up=True, as_json=as_json)
        return
    controller.check_extras(runtime or "local")
    variables = {"LABDOCK_RUNTIME": runtime, "LABDOCK_PORT": None if port is None else str(port)}
    variables |= _tls_variables(tls, tls_cert, tls_key)
    log = log_file(of) if detach else None
    process = controller.launch(of, {k: v for k, v in variables.items() if v is not None}, log)
    try:
        with Activity("Starting the controller", progress):
            address = controller.wait_ready(process, of, log)
    except KeyboardInterrupt:
        _end(process)
        raise
    if detach:
        _show(address, already_up=False, as_json=as_json)
    else:
        _stay(process, lambda: _show(address, already_up=False, as_json=as_json))


def down(
    keep: Annotated[
        bool, typer.Option("--keep-environments", help="Leave environments running; the next 'up' finds them.")
    ] = False,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Stop the environments and the controller; their files stay.

    Example: labdock down
    """
    of = home()
    address = controller.running(of)
    if address is None:
        show_json({"stopped": False, "environments": []}) if as_json else say(f"No controller runs for {of}.")
        return
    with Activity("Stopping", progress) as activity:
        stopped = [] if keep else _stop_environments(address, activity)
        if not controller.stop(address):
            raise TransportError(
                f"The controller (process {address.pid}) did not end.", remedy=f"See {log_file(of)}.", pid=address.pid
            )
    if as_json:
        show_json({"stopped": True, "environments": stopped})
    else:
        say(f"Stopped {', '.join([*stopped, 'the controller'])}.")


def log_file(of: Path) -> Path:
    """Where a controller in the background writes."""
    return of / "logs" / "controller.log"


def sign_in_link(address: ControllerAddress) -> str:
    """A link for the browser; empty where the controller gives none."""
    lab = Lab(controller.connect_to(address))
    with contextlib.closing(lab), contextlib.suppress(LabdockError):
        return lab.sign_in_link()
    return ""


def _tls_variables(tls: bool, certificate: Path | None, key: Path | None) -> dict[str, str | None]:
    if (certificate is None) != (key is None):
        raise InvalidOptions("A certificate and its key belong together.", remedy="Give --tls-cert and --tls-key.")
    if certificate is None or key is None:
        return {"LABDOCK_TLS": "true" if tls else None}
    return {"LABDOCK_TLS_CERTIFICATE": str(certificate.absolute()), "LABDOCK_TLS_KEY": str(key.absolute())}


def _fingerprint(certificate: str) -> str:
    """SHA-256 of a certificate as browsers show it; empty for none."""
    with contextlib.suppress(OSError, ValueError):
        encoded = ssl.PEM_cert_to_DER_cert(Path(certificate).read_text(encoding="ascii")) if certificate else b""
        return hashlib.sha256(encoded).digest().hex(":").upper() if encoded else ""
    return ""


def _stop_environments(address: ControllerAddress, activity: Activity) -> list[str]:
    stopped = []
    with Lab(controller.connect_to(address), progress=False) as lab:
        for environment in lab.environments.list():
            if environment.status in ("running", "starting"):
                activity.say(environment.name)
                environment.stop()
                stopped.append(environment.name)
    return stopped


def _show(address: ControllerAddress, *, already_up: bool, as_json: bool) -> None:
    link = sign_in_link(address)
    if as_json:
        shown = {"url": address.url, "link": link, "pid": address.pid, "home": str(home()), "already": already_up}
        show_json({**shown, "certificate": address.certificate, "fingerprint": _fingerprint(address.certificate)})
        return
    say(f"The controller {'already runs' if already_up else 'is ready'} at {address.url}")
    trusted = {"certificate": address.certificate, "its SHA-256": _fingerprint(address.certificate)}
    show_pairs({"dashboard, signed in once": link, **trusted, "next": "labdock start __dev__"})


def _stay(process: "subprocess.Popen[bytes]", show: Callable[[], None]) -> None:
    """`show` what there is and wait for the controller; Ctrl-C, or being asked to end, ends it."""
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        show()
        note("Ctrl-C ends it.")
        code = process.wait()
    except KeyboardInterrupt:
        _end(process)
        code = 0
    finally:
        signal.signal(signal.SIGTERM, previous)
    if code > 0:
        raise typer.Exit(1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(controller.STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
