"""Personal tokens, browser sessions and one-time sign-in tickets: 256 random bits each, kept as SHA-256 only.

A plain hash is enough for a random secret of that size (there is nothing to guess), and comparing hashes in an index
leaks nothing about the secret.
"""

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from labdock.errors import Conflict, InvalidOptions, Unauthenticated
from labdock.names import check_name, not_found
from labdock_controller.access.rights import CAPABILITIES, Principal, capabilities_of, check_known
from labdock_controller.store import Store
from labdock_controller.store.tables import CredentialRow, UserRow

PREFIXES = {"token": "ldk_", "session": "lds_", "ticket": "ldt_"}
TICKET_SECONDS = 300
TOKENS_PER_USER = 100
CACHE_SIZE = 10_000


@dataclass(frozen=True)
class Token:
    """A personal token as its owner sees it: never the secret."""

    id: str
    name: str
    user: str
    capabilities: tuple[str, ...] | None
    created: float
    expires: float | None
    last_used: float | None


@dataclass(frozen=True)
class _Known:
    principal: Principal
    kind: str
    expires: float | None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """Answers who a secret belongs to, from memory: only this controller changes the store (see `Store.write`)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: dict[str, _Known] = {}
        self._used: dict[str, float] = {}
        self._changes = 0
        self._lock = threading.Lock()

    def cached(self, secret: str, kind: str) -> Principal | None:
        """The principal if it is in memory; never blocks, None says nothing about unknown secrets."""
        known = self._cache.get(_hash(secret))
        return self._live(known, kind) if known else None

    def authenticate(self, secret: str, kind: str) -> Principal | None:
        """Whose `token` or `session` this is, or None for an unknown, expired or revoked one."""
        digest = _hash(secret)
        known = self._cache.get(digest)
        if known is None:
            changes = self._changes
            known = self._load(digest)
            if known is None:
                return None
            with self._lock:
                # What was read before a change (a revocation, say) must not come back after it.
                if changes == self._changes:
                    if len(self._cache) >= CACHE_SIZE:
                        self._cache.clear()
                    self._cache[digest] = known
        return self._live(known, kind)

    def _live(self, known: _Known, kind: str) -> Principal | None:
        now = time.time()
        if known.kind != kind or (known.expires is not None and known.expires <= now):
            return None
        self._used[known.principal.credential_id] = now
        return known.principal

    def _load(self, digest: str) -> _Known | None:
        with self._store.read() as session:
            found = session.execute(
                select(CredentialRow, UserRow)
                .join(UserRow, UserRow.id == CredentialRow.user_id)
                .where(CredentialRow.hash == digest, CredentialRow.kind != "ticket", UserRow.active)
            ).one_or_none()
        if found is None:
            return None
        row, user = found
        principal = Principal(
            user_id=user.id,
            user=user.name,
            roles=tuple(user.roles),
            capabilities=capabilities_of(user.roles, row.capabilities),
            via=row.kind,
            credential_id=row.id,
        )
        return _Known(principal, row.kind, row.expires)

    def forget_cache(self) -> None:
        """After any change of users or credentials."""
        with self._lock:
            self._changes += 1
            self._cache.clear()

    def create(
        self, user_id: str, name: str, capabilities: list[str] | None = None, expires: float | None = None
    ) -> tuple[Token, str]:
        """A personal token and its secret, which is shown once. Names are unique for each user."""
        check_name(name, "token")
        checked = check_known(capabilities, CAPABILITIES, "capability") if capabilities is not None else None
        if expires is not None and expires <= time.time():
            raise InvalidOptions("The token would have expired already.", remedy="Choose a time to come.")
        with self._store.write() as session:
            mine = session.scalars(
                select(CredentialRow.name).where(CredentialRow.user_id == user_id, CredentialRow.kind == "token")
            ).all()
            if name in mine:
                raise Conflict(f"You have a token named {name!r} already.", remedy="Revoke it or choose another name.")
            if len(mine) >= TOKENS_PER_USER:
                raise Conflict(f"You have {len(mine)} tokens.", remedy="Revoke some that you no longer use.")
            row, secret = self._issue(session, "token", user_id, name=name, capabilities=checked, expires=expires)
            user = session.get_one(UserRow, user_id)
            return _token(row, user.name), secret

    def of(self, user_id: str | None = None) -> list[Token]:
        """One user's tokens, or everybody's."""
        query = select(CredentialRow, UserRow.name).join(UserRow).where(CredentialRow.kind == "token")
        if user_id is not None:
            query = query.where(CredentialRow.user_id == user_id)
        with self._store.read() as session:
            return [_token(row, name) for row, name in session.execute(query.order_by(CredentialRow.created))]

    def revoke(self, token_id: str, user_id: str | None) -> None:
        """Revoke one of `user_id`'s tokens (anybody's for None), by id or name. Works at once."""
        with self._store.write() as session:
            query = select(CredentialRow).where(CredentialRow.kind == "token")
            if user_id is not None:
                query = query.where(CredentialRow.user_id == user_id)
            rows = session.scalars(query).all()
            row = next((r for r in rows if r.id == token_id), None)
            row = row or next((r for r in rows if r.name == token_id and user_id is not None), None)
            if row is None:
                raise not_found("token", token_id, [r.name for r in rows])
            session.delete(row)
        self.forget_cache()

    def open_session(self, user_id: str, hours: float, capabilities: list[str] | None = None) -> str:
        """A browser's session; the secret goes into its cookie."""
        with self._store.write() as session:
            expires = time.time() + hours * 3600
            return self._issue(session, "session", user_id, capabilities=capabilities, expires=expires)[1]

    def close_session(self, principal: Principal) -> None:
        """Sign out."""
        with self._store.write() as session:
            session.execute(delete(CredentialRow).where(CredentialRow.id == principal.credential_id))
        self.forget_cache()

    def end_sessions(self, session: Session, user_id: str) -> None:
        """End a user's sessions and tickets inside the caller's transaction."""
        session.execute(delete(CredentialRow).where(CredentialRow.user_id == user_id, CredentialRow.kind != "token"))

    def issue_ticket(self, user_id: str, restricted_to: frozenset[str] | None = None) -> str:
        """A sign-in ticket: works once, for five minutes, and gives no more than `restricted_to`."""
        with self._store.write() as session:
            capabilities = None if restricted_to is None else sorted(restricted_to)
            expires = time.time() + TICKET_SECONDS
            return self._issue(session, "ticket", user_id, capabilities=capabilities, expires=expires)[1]

    def redeem_ticket(self, secret: str, hours: float) -> tuple[str, str]:
        """Use a ticket up and open its session: user id and session secret. Raises `Unauthenticated`."""
        with self._store.write() as session:
            row = session.scalars(
                select(CredentialRow).where(CredentialRow.hash == _hash(secret), CredentialRow.kind == "ticket")
            ).one_or_none()
            user = session.get(UserRow, row.user_id) if row else None
            if row is None or user is None or not user.active or row.expires is None or row.expires <= time.time():
                raise Unauthenticated(
                    "This sign-in link was used already or is older than five minutes.",
                    remedy="Get a new one with `labdock open`.",
                )
            session.delete(row)
            expires = time.time() + hours * 3600
            opened = self._issue(session, "session", user.id, capabilities=row.capabilities, expires=expires)
            return user.id, opened[1]

    def tidy(self) -> None:
        """Write when credentials were last used and drop expired ones. Called now and then."""
        used, self._used = self._used, {}
        with self._store.write() as session:
            for identifier, when in used.items():
                session.execute(update(CredentialRow).where(CredentialRow.id == identifier).values(last_used=when))
            session.execute(delete(CredentialRow).where(CredentialRow.expires <= time.time()))

    def _issue(
        self,
        session: Session,
        kind: str,
        user_id: str,
        *,
        name: str = "",
        capabilities: list[str] | None = None,
        expires: float | None = None,
    ) -> tuple[CredentialRow, str]:
        secret = PREFIXES[kind] + secrets.token_urlsafe(32)
        row = CredentialRow(
            id=secrets.token_hex(6),
            kind=kind,
            user_id=user_id,
            name=name,
            hash=_hash(secret),
            capabilities=capabilities,
            created=time.time(),
            expires=expires,
        )
        session.add(row)
        session.flush()
        return row, secret


def _token(row: CredentialRow, user: str) -> Token:
    capabilities = None if row.capabilities is None else tuple(row.capabilities)
    return Token(row.id, row.name, user, capabilities, row.created, row.expires, row.last_used)
