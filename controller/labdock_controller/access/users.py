"""Users: who they are and which roles they hold. Passwords are kept as argon2 hashes."""

import functools
import secrets
import time
from dataclasses import dataclass

from pwdlib import PasswordHash
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labdock.errors import Conflict, Forbidden, InvalidOptions
from labdock.names import check_name, not_found
from labdock_controller.access.rights import ROLES, capabilities_of, check_known
from labdock_controller.access.tokens import Tokens
from labdock_controller.store import Store
from labdock_controller.store.tables import EnvironmentRow, ModelRow, UserRow

OWNER = "admin"
# Whoever starts a controller of his own may do the whole lab; roles of other users are given by hand.
OWNER_ROLES = ("admin", "mltk_model_admin")
PASSWORD_LENGTH = 8
PASSWORD_MAXIMUM = 1024


@dataclass(frozen=True)
class User:
    id: str
    name: str
    roles: tuple[str, ...]
    active: bool
    created: float
    has_password: bool


def _user(row: UserRow) -> User:
    return User(row.id, row.name, tuple(row.roles), row.active, row.created, bool(row.password_hash))


class Users:
    """The users of one store. Every change takes effect on the next request, of living sessions too."""

    def __init__(self, store: Store, tokens: Tokens) -> None:
        self._store = store
        self._tokens = tokens
        self._hasher = PasswordHash.recommended()

    @functools.cached_property
    def nobody(self) -> str:
        """Checked against when a name is unknown, so that a wrong name takes as long as a wrong password.

        Made when first asked for: a hash costs more than all else that the start of a controller does.
        """
        return self._hasher.hash(secrets.token_hex(16))

    def all(self) -> list[User]:
        with self._store.read() as session:
            return [_user(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]

    def get(self, name: str) -> User:
        """Raises `NotFound` that names the nearest."""
        with self._store.read() as session:
            return _user(self._row(session, name))

    def capabilities(self, name: str) -> frozenset[str]:
        """What the user's roles give, no token considered."""
        return capabilities_of(self.get(name).roles)

    def ensure_owner(self) -> User:
        """The user of the first start, made where nobody is there yet."""
        with self._store.write() as session:
            row = session.scalars(select(UserRow).where(UserRow.name == OWNER)).one_or_none()
            if row is None:
                row = UserRow(
                    id=secrets.token_hex(6), name=OWNER, roles=list(OWNER_ROLES), created=time.time(), active=True
                )
                session.add(row)
                session.flush()
            return _user(row)

    def create(self, name: str, roles: list[str], password: str | None = None) -> User:
        """Raises `InvalidName`, `InvalidOptions` for unknown roles, `Conflict` for a taken name."""
        check_name(name, "user")
        roles = check_known(roles, ROLES, "role")
        hashed = self._hash(password)
        try:
            with self._store.write() as session:
                taken = session.scalars(select(UserRow.id).where(UserRow.name == name)).first()
                if taken:
                    raise _taken(name)
                row = UserRow(
                    id=secrets.token_hex(6),
                    name=name,
                    roles=roles,
                    password_hash=hashed,
                    created=time.time(),
                    active=True,
                )
                session.add(row)
                session.flush()
                return _user(row)
        except IntegrityError:
            raise _taken(name) from None

    def from_provider(self, subject: str, name: str, roles: list[str]) -> User:
        """The user of an identity provider: made at the first sign-in, with `roles` as the provider has them each time.

        Raises `Conflict` where the name is another's, `Forbidden` for one who is switched off.
        """
        checked = check_known(roles, ROLES, "role")
        with self._store.write() as session:
            row = session.scalars(select(UserRow).where(UserRow.subject == subject)).one_or_none()
            if row is None:
                check_name(name, "user")
                if session.scalars(select(UserRow.id).where(UserRow.name == name)).first():
                    raise Conflict(
                        f"There is another user named {name!r} here.",
                        remedy="An administrator must rename or remove that user; nobody gets a name that another has.",
                        name=name,
                    )
                row = UserRow(
                    id=secrets.token_hex(6), name=name, roles=checked, created=time.time(), active=True, subject=subject
                )
                session.add(row)
            elif not row.active:
                raise Forbidden(f"The user {row.name} is switched off.", remedy="Ask an administrator.")
            changed = row.roles != checked
            row.roles = checked
            self._keep_an_administrator(session)
            user = _user(row)
        if changed:
            self._tokens.forget_cache()
        return user

    def change(
        self, name: str, *, roles: list[str] | None = None, password: str | None = None, active: bool | None = None
    ) -> User:
        """Change what is given. A new password or a switched-off user ends the user's sessions."""
        checked = check_known(roles, ROLES, "role") if roles is not None else None
        hashed = self._hash(password)
        with self._store.write() as session:
            row = self._row(session, name)
            if checked is not None:
                row.roles = checked
            if hashed:
                row.password_hash = hashed
            if active is not None:
                row.active = active
            if hashed or active is False:
                self._tokens.end_sessions(session, row.id)
            self._keep_an_administrator(session)
            user = _user(row)
        self._tokens.forget_cache()
        return user

    def remove(self, name: str) -> None:
        """Raises `Conflict` while the user owns environments or models."""
        with self._store.write() as session:
            row = self._row(session, name)
            for table, noun in ((EnvironmentRow, "environments"), (ModelRow, "models")):
                owned = session.scalars(select(table.name).where(table.owner_id == row.id).limit(5)).all()
                if owned:
                    raise Conflict(
                        f"{name} owns {noun}: {', '.join(owned)}.",
                        remedy=f"Remove them first, or switch the user off: PATCH /api/users/{name} active=false.",
                        names=list(owned),
                    )
            session.execute(delete(UserRow).where(UserRow.id == row.id))
            self._keep_an_administrator(session)
        self._tokens.forget_cache()

    def check_password(self, name: str, password: str) -> User | None:
        """The user, or None; takes the same time for an unknown name."""
        with self._store.read() as session:
            row = session.scalars(select(UserRow).where(UserRow.name == name)).one_or_none()
        usable = row is not None and row.active and bool(row.password_hash)
        hashed = row.password_hash if row is not None and usable else self.nobody
        right = self._hasher.verify(password[:PASSWORD_MAXIMUM], hashed)
        return _user(row) if row is not None and usable and right else None

    def _hash(self, password: str | None) -> str:
        if password is None:
            return ""
        if not PASSWORD_LENGTH <= len(password) <= PASSWORD_MAXIMUM:
            raise InvalidOptions(
                f"The password has {len(password)} characters.",
                remedy=f"Use {PASSWORD_LENGTH} to {PASSWORD_MAXIMUM} characters.",
            )
        return self._hasher.hash(password)

    def _row(self, session: Session, name: str) -> UserRow:
        row = session.scalars(select(UserRow).where(UserRow.name == name)).one_or_none()
        if row is None:
            raise not_found("user", name, session.scalars(select(UserRow.name)).all())
        return row

    def _keep_an_administrator(self, session: Session) -> None:
        session.flush()
        if not any(row.active and "admin" in row.roles for row in session.scalars(select(UserRow))):
            raise Conflict(
                "Nobody could administrate Labdock after this change.", remedy="Give another user the role admin first."
            )


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a user named {name!r} already.", remedy="Choose another name.", name=name)
