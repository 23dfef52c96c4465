"""The port, the certificate, who is trusted, and registries that images come from."""

import contextlib
import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from labdock.home import ControllerAddress
from labdock_controller.finding import Finding, Health
from labdock_controller.images import known_images
from labdock_controller.settings import Settings

# In the order in which pip, requests and OpenSSL look; the first that is set counts for our images, too.
BUNDLES = ("LABDOCK_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")
REGISTRY_SECONDS = 3.0
SOON_DAYS = 21


def port(settings: Settings) -> Iterator[Finding]:
    """Free, or the running controller's."""
    where, title = f"{settings.host}:{settings.port}", "Port"
    address = ControllerAddress.read(settings.home)
    if address is not None and _alive(address.pid):
        yield Finding("port", title, Health.OK, f"the controller runs at {address.url} (process {address.pid})")
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            remedy = "Choose another with --port or LABDOCK_PORT (0 picks a free one), or end what uses it."
            yield Finding("port", title, Health.ERROR, f"{where}: {error.strerror or error}", remedy)
            return
    yield Finding("port", title, Health.OK, f"{where} is free" if settings.port else "a free one is picked")


def certificate(settings: Settings) -> Iterator[Finding]:
    """Fits its key and is valid for a while."""
    title, path = "Certificate", settings.tls_certificate
    open_to_all = settings.host not in ("127.0.0.1", "localhost", "::1")
    if path is None:
        state = Health.WARNING if open_to_all and not settings.public_url.startswith("https:") else Health.SKIPPED
        remedy = "Use `labdock up --tls`, or a proxy with TLS before it." if state is Health.WARNING else ""
        yield Finding("certificate", title, state, "none: plain HTTP", remedy)
        return
    from labdock_controller.certificate import days_left  # noqa: PLC0415 - cryptography is needed for this alone

    remedy = "Check LABDOCK_TLS_CERTIFICATE and LABDOCK_TLS_KEY, or let `labdock up --tls` make one."
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, settings.tls_key)
        days = days_left(path)
    except (OSError, ValueError) as error:
        yield Finding("certificate", title, Health.ERROR, f"{path} cannot be used: {error}", remedy)
        return
    state = Health.ERROR if days <= 0 else Health.WARNING if days < SOON_DAYS else Health.OK
    said = f"{path} {'has expired' if days <= 0 else f'is valid for {days:.0f} days'}"
    yield Finding("certificate", title, state, said, "" if state is Health.OK else "Renew it.")


def authorities(_: Settings) -> Iterator[Finding]:
    """The bundle of authorities that this site sets is there and holds some; else the system's."""
    title = "Certificate authorities"
    named = next(((name, os.environ[name]) for name in BUNDLES if os.environ.get(name)), None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if named is None:
        context.load_default_certs()
        count = len(context.get_ca_certs())
        state = Health.OK if count or ssl.get_default_verify_paths().capath else Health.WARNING
        remedy = "" if state is Health.OK else "Install ca-certificates, or set SSL_CERT_FILE."
        yield Finding("authorities", title, state, f"the system's ({count})", remedy)
        return
    name, path = named
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        remedy = f"Set {name} to a PEM file of certificates, or unset it."
        yield Finding("authorities", title, Health.ERROR, f"{name}={path}: {error}", remedy)
        return
    known = context.get_ca_certs()
    ended = [one for one in known if ssl.cert_time_to_seconds(str(one["notAfter"])) < time.time()]
    said = f"{name}={path}: {len(known)} authorities" + (f", {len(ended)} of them expired" if ended else "")
    state = Health.OK if len(known) > len(ended) else Health.ERROR
    yield Finding("authorities", title, state, said, "" if state is Health.OK else "Put valid certificates into it.")


def registries(settings: Settings) -> Iterator[Finding]:
    """Every registry that an image's reference names answers."""
    title = "Registries"
    references = [image.reference for image in known_images([settings.home / "images"]).values()]
    hosts = sorted({host for host in map(_registry, references) if host})
    if not hosts:
        yield Finding("registries", title, Health.SKIPPED, "no image names one: they are built or loaded")
    for host in hosts:
        said = _answer(host)
        good = said.startswith("answers")
        remedy = "" if good else "Check its name, the network, a proxy, and the certificate authorities above."
        yield Finding(f"registry-{host}", title, Health.OK if good else Health.WARNING, f"{host} {said}", remedy)


def _registry(reference: str) -> str:
    """The registry's host in a reference; empty where it has none (`labdock/golden-cpu`)."""
    first, sign, _ = reference.partition("/")
    return first if sign and ("." in first or ":" in first or first == "localhost") else ""


def _answer(host: str) -> str:
    name = host.rsplit(":", 1)[0]
    plain = name in ("localhost", "127.0.0.1")  # as the engine does
    kind = http.client.HTTPConnection if plain else http.client.HTTPSConnection
    with contextlib.closing(kind(host, timeout=REGISTRY_SECONDS)) as asked:
        try:
            asked.request("GET", "/v2/")
            status = asked.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"does not answer: {error}"
    return f"answers ({status})" if status in (200, 401) else f"is no registry (it says {status})"


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
