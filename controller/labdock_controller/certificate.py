"""A certificate of our own for a controller that speaks HTTPS: made once, kept in the home, trusted by its file.

`controller.json` names the file, so that the clients of this user trust exactly this certificate and nothing else.
"""

import datetime as dt
import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labdock.errors import InvalidOptions
from labdock.home import write_atomically

CERTIFICATE = "tls-certificate.pem"
KEY = "tls-key.pem"
VALID_DAYS = 365
RENEW_DAYS = 30
ALWAYS = ("localhost", "127.0.0.1", "::1")


def ensure(home: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """Certificate and key in `home` for `names` (host names and addresses) and this machine's own.

    Made anew where a name is missing, the end is near, or the two do not belong together.
    """
    certificate, key = home / CERTIFICATE, home / KEY
    wanted = list(dict.fromkeys([*ALWAYS, socket.gethostname(), *(name for name in names if name)]))
    if not _serves(certificate, key, wanted):
        _make(certificate, key, wanted)
    return certificate, key


def days_left(path: Path) -> float:
    """Days until the certificate ends; negative when it has. Raises `ValueError` for what is none."""
    end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    return (end - dt.datetime.now(dt.UTC)).total_seconds() / 86_400


def names_of(path: Path) -> set[str]:
    """The host names and addresses that a certificate is for."""
    found = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def _serves(certificate: Path, key: Path, wanted: Iterable[str]) -> bool:
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        fits = private.public_key() == found.public_key()
        return fits and days_left(certificate) > RENEW_DAYS and names_of(certificate) >= set(wanted)
    except (OSError, ValueError, TypeError):
        return False


def _make(certificate: Path, key: Path, names: list[str]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Labdock")])
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))  # clocks of two machines differ
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    text = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    # The key first: a crash in between leaves a pair that does not fit, which is made again.
    write_atomically(key, text)
    write_atomically(certificate, made.public_bytes(serialization.Encoding.PEM))


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)
    except (UnicodeError, ValueError):
        raise InvalidOptions(
            f"{name!r} is no host name for a certificate.", remedy="Correct LABDOCK_HOSTS or LABDOCK_PUBLIC_URL."
        ) from None
