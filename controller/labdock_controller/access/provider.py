"""Signing in through an OpenID Connect provider: the code flow with PKCE, state, nonce and a verified ID token.

Every flow is remembered here for ten minutes and used once. It belongs to the browser that began it (a cookie whose
hash is kept with it), so that nobody can be signed in to somebody else's account by a link.
"""

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from labdock.errors import Forbidden, TransportError, Unauthenticated
from labdock_controller.access.rights import ROLES
from labdock_controller.settings import Settings

FLOW_SECONDS = 600
FLOWS = 10_000
SECONDS = 10  # for one answer of the provider
LEEWAY = 60
METADATA_SECONDS = 3600
# Signatures by a private key only: no `none`, and no HMAC that could be made with a public key as its secret.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Flow:
    """One sign-in on its way."""

    nonce: str
    verifier: str
    browser: str  # hash of the cookie
    redirect_uri: str
    target: str
    ends: float


@dataclass(frozen=True)
class Identity:
    """Whom the provider vouches for."""

    subject: str  # SHA-256 of issuer and subject: never given to anybody else
    name: str
    roles: tuple[str, ...]
    id_token: str = field(default="", repr=False)


class Provider:
    """One provider, from the settings `oidc_…`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._flows: dict[str, Flow] = {}
        self._hints: dict[str, str] = {}  # ID tokens by the hash of the session that began with them
        self._lock = threading.Lock()
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: jwk.KeySet | None = None

    def begin(self, redirect_uri: str, target: str) -> tuple[str, str]:
        """The provider's address for this browser, and the cookie's secret that binds the flow to it."""
        state, nonce, verifier, browser = (secrets.token_urlsafe(32) for _ in range(4))
        address, _ = self._session(redirect_uri).create_authorization_url(
            self._endpoint("authorization_endpoint"), state=state, nonce=nonce, code_verifier=verifier
        )
        now = time.monotonic()
        flow = Flow(nonce, verifier, _hash(browser), redirect_uri, target, now + FLOW_SECONDS)
        with self._lock:
            self._flows = {key: one for key, one in self._flows.items() if one.ends > now}
            while len(self._flows) >= FLOWS:
                self._flows.pop(next(iter(self._flows)))
            self._flows[state] = flow
        return str(address), browser

    def finish(self, state: str, browser: str, answer: dict[str, str]) -> tuple[Identity, str]:
        """Whom the provider's `answer` (the query of the redirect) names, and where the flow leads.

        Raises `Unauthenticated` for whatever does not fit, `Forbidden` for whom we do not let in.
        """
        with self._lock:
            flow = self._flows.get(state)
            if flow is not None and hmac.compare_digest(flow.browser, _hash(browser)):
                del self._flows[state]  # once, whatever comes of it
            else:
                flow = None
        if flow is None or flow.ends < time.monotonic():
            raise _refused("this sign-in was not begun in this browser, or it is over")
        if answer.get("iss", self._issuer).rstrip("/") != self._issuer:
            raise _refused("the answer is another provider's")
        if "code" not in answer:
            raise _refused(f"the provider says {answer.get('error', 'nothing')!a}")
        text = self._id_token(flow, answer["code"])
        identity = self._identity(self._verified(text, flow.nonce))
        return replace(identity, id_token=text), flow.target

    def opened(self, session: str, identity: Identity) -> None:
        """A browser's session (its secret) began with this sign-in: signing out there ends the provider's, too.

        ID tokens say who somebody is, so they are kept in memory alone and never written down.
        """
        with self._lock:
            while len(self._hints) >= FLOWS:
                self._hints.pop(next(iter(self._hints)))
            self._hints[_hash(session)] = identity.id_token

    def sign_out(self, session: str, back: str) -> str | None:
        """Where the browser goes to end the provider's session, and from there `back`; None: that is not needed here.

        RP-initiated logout. None for a session that another way opened (or another controller, before a restart), for
        a provider that offers none, and for one that does not answer: our own session ends in any case.
        """
        with self._lock:
            hint = self._hints.pop(_hash(session), None)
        if hint is None:
            return None
        try:
            address = self._endpoint("end_session_endpoint")
        except TransportError:
            return None
        client = self._settings.oidc_client_id
        query = {"id_token_hint": hint, "client_id": client, "post_logout_redirect_uri": back}
        return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"

    def _id_token(self, flow: Flow, code: str) -> str:
        try:
            with self._session(flow.redirect_uri) as session:
                token = session.fetch_token(
                    self._endpoint("token_endpoint"), code=code, code_verifier=flow.verifier, timeout=SECONDS
                )
        except requests.RequestException as error:
            raise _unreachable(self._issuer, error) from None
        except (AuthlibBaseError, ValueError, KeyError) as error:
            raise _refused(f"the provider does not take its code: {str(error)[:200]}") from None
        found = token.get("id_token")
        if not isinstance(found, str):
            raise _refused("the provider gave no ID token; the scope openid is needed")
        return found

    def _verified(self, text: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token that is this provider's, for us, of this flow, and not over."""
        client = self._settings.oidc_client_id
        try:
            try:
                token = jwt.decode(text, self._key_set(), algorithms=ALGORITHMS)
            except (JoseError, ValueError):  # the provider may have new keys
                token = jwt.decode(text, self._key_set(anew=True), algorithms=ALGORITHMS)
            registry = jwt.JWTClaimsRegistry(
                leeway=LEEWAY,
                iss={"essential": True, "value": self._metadata_now()["issuer"]},
                aud={"essential": True, "value": client},
                nonce={"essential": True, "value": nonce},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
            )
            registry.validate(token.claims)
        except (JoseError, ValueError) as error:
            raise _refused(f"its ID token is not valid ({type(error).__name__}: {str(error)[:200]})") from None
        claims: dict[str, Any] = token.claims
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", client) != client or (several and "azp" not in claims):
            raise _refused("its ID token was given to another client")
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity:
        settings = self._settings
        email = str(claims.get("email") or "")
        domain = email.rpartition("@")[2].casefold()
        if settings.oidc_domains:
            allowed = {one.casefold() for one in settings.oidc_domains}
            if domain not in allowed or claims.get("email_verified") is not True:
                raise Forbidden(
                    "The provider vouches for no e-mail address of a domain that may sign in here.",
                    remedy="Sign in with another account, or ask an administrator about LABDOCK_OIDC_DOMAINS.",
                )
        said = claims.get(settings.oidc_roles_claim)
        values = [said] if isinstance(said, str) else [str(one) for one in said] if isinstance(said, list) else []
        given = [role for value in values for role in settings.oidc_roles.get(value, [])]
        roles = sorted({*given, *settings.oidc_default_roles} & set(ROLES))
        if not roles:
            raise Forbidden(
                "The provider knows you, but gives you no role here.",
                remedy="Ask an administrator: LABDOCK_OIDC_ROLES maps the provider's groups to roles.",
            )
        name = str(claims.get(settings.oidc_name_claim) or email or claims["sub"])
        return Identity(_hash(f"{self._issuer}\n{claims['sub']}"), _plain(name), tuple(roles))

    def _session(self, redirect_uri: str) -> Any:
        settings = self._settings
        return OAuth2Session(
            settings.oidc_client_id, settings.oidc_client_secret.get_secret_value() or None,
            scope=settings.oidc_scopes, redirect_uri=redirect_uri, code_challenge_method="S256",
        )  # fmt: skip

    def _endpoint(self, name: str) -> str:
        address = str(self._metadata_now().get(name) or "")
        if not _safe(address):
            raise TransportError(
                f"The provider {self._issuer} names no usable {name}.",
                remedy="Check LABDOCK_OIDC_ISSUER; it needs HTTPS.",
            )
        return address

    def _metadata_now(self) -> dict[str, Any]:
        """What the provider says of itself; asked for once an hour."""
        known = self._metadata
        if known is None or time.monotonic() - known[0] > METADATA_SECONDS:
            found = self._get(f"{self._issuer}/.well-known/openid-configuration")
            if str(found.get("issuer", "")).rstrip("/") != self._issuer:
                raise TransportError(
                    f"{self._issuer} calls itself {found.get('issuer')!a}.", remedy="Correct LABDOCK_OIDC_ISSUER."
                )
            self._metadata = known = (time.monotonic(), found)
        return known[1]

    def _key_set(self, *, anew: bool = False) -> jwk.KeySet:
        if self._keys is None or anew:
            self._keys = jwk.KeySet.import_key_set(self._get(self._endpoint("jwks_uri")))  # type: ignore[arg-type]
        return self._keys

    def _get(self, address: str) -> dict[str, Any]:
        if not _safe(address):
            raise TransportError(
                f"{address} is not safe to ask.", remedy="LABDOCK_OIDC_ISSUER must begin with https://."
            )
        try:
            answer = requests.get(address, timeout=SECONDS, allow_redirects=False)
            answer.raise_for_status()
            found = answer.json()
        except requests.RequestException as error:
            raise _unreachable(self._issuer, error) from None
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            raise _unreachable(self._issuer, f"it answers {answer.status_code}")
        return found


def _safe(address: str) -> bool:
    """HTTPS, or plain HTTP to this machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(name: str) -> str:
    """A user's name from what the provider calls them: of an e-mail address the part before the @."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name.partition("@")[0][:64])
    return kept.lstrip("-") or "user"


def _refused(reason: str) -> Unauthenticated:
    return Unauthenticated(f"Signing in did not work: {reason}.", remedy="Begin again at the sign-in page.")


def _unreachable(issuer: str, reason: object) -> TransportError:
    return TransportError(
        f"The identity provider {issuer} does not answer: {reason}.", remedy="Try again; see `labdock doctor`."
    )
