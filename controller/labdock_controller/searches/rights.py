"""On whose behalf a search acts: the caller's rights as they are now."""

from collections.abc import Collection, Sequence

from labdock.errors import Forbidden, InvalidOptions
from labdock_controller.access.rights import ROLES, Principal, allowed, capabilities_of, check_known
from labdock_controller.access.users import Users
from labdock_search.protocols import Caller


def caller_of(principal: Principal, app: str = "search") -> Caller:
    """Who asks, as the engine passes it on: narrowed like the token that asks."""
    return Caller(principal.user, app, principal.capabilities)


def principal(users: Users, caller: Caller) -> Principal:
    """The caller's user with the rights of this moment, narrowed to what the caller may.

    Raises `NotFound`, and `Forbidden` for one who is switched off.
    """
    user = users.get(caller.user)
    if not user.active:
        raise Forbidden(f"The user {user.name} is switched off.", remedy="Ask an administrator.", user=user.name)
    return Principal(user.id, user.name, user.roles, capabilities_of(user.roles, caller.capabilities), "search", "")


def check_readers(users: Users, readers: Sequence[str]) -> list[str]:
    """`user:<name>` and `role:<role>`, sorted and without repeats. Raises `InvalidOptions`, and `NotFound` for a user
    that does not exist."""
    for reader in readers:
        kind, _, name = reader.partition(":")
        if kind == "role":
            check_known([name], ROLES, "role")
        elif kind == "user":
            users.get(name)
        else:
            raise InvalidOptions(f"{reader!r} is no reader.", remedy="Write user:<name> or role:<role>.")
    return sorted(set(readers))


class CallerRights:
    """What lookups and indexes ask about a caller."""

    def __init__(self, users: Users) -> None:
        self._users = users

    def may(self, caller: Caller, capability: str) -> bool:
        return allowed(principal(self._users, caller), capability)

    def manages(self, caller: Caller) -> bool:
        return principal(self._users, caller).rules_all

    def may_read(self, caller: Caller, index: str, readers: Collection[str] | None) -> bool:
        """Everybody where an index names no `readers`; else those, by `user:<name>` or `role:<role>`, and who
        configures."""
        del index
        if readers is None:
            return True
        asker = principal(self._users, caller)
        own = {f"user:{asker.user}", *(f"role:{role}" for role in asker.roles)}
        return asker.rules_all or not own.isdisjoint(readers)
