"""Roles, capabilities, and the one function that decides.

Everything is denied unless `decide` returns. A token's own capabilities and its user's roles intersect: neither can
add to the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from labdock.errors import Forbidden, InvalidOptions, Unauthenticated
from labdock.names import nearest

CAPABILITIES: dict[str, str] = {
    "list_environments": "see environments, their state and logs",
    "control_environments": "start, stop and open one's own environments",
    "configure": "change settings; control everybody's environments",
    "search": "run searches; stage, fit and apply; one's own models",
    "schedule_search": "save searches and schedule alerts",
    "send_events": "send events to indexes over the HTTP Event Collector",
    "upload_lookup_files": "upload lookup tables, and with the next one ONNX models",
    "upload_onnx_model_file": "upload ONNX models, with the one before",
    "share_app": "share with one's app",
    "share_global": "share with all apps",
    "manage_users": "users, roles, and everybody's tokens",
}

_VIEWER = {"list_environments"}
_USER = _VIEWER | {"control_environments", "search", "schedule_search"}
_UPLOAD = {"upload_lookup_files", "upload_onnx_model_file"}

# Nobody but `mltk_model_admin` holds the upload capabilities, `admin` included: roles are given together.
ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset(_VIEWER),
    "user": frozenset(_USER),
    "power": frozenset(_USER | {"share_app", "send_events"}),
    "mltk_model_admin": frozenset(_USER | _UPLOAD),
    "admin": frozenset(set(CAPABILITIES) - _UPLOAD),
}

# What a route names instead of a capability.
OPEN = "open"
SIGNED_IN = "signed in"

SHARINGS = ("user", "app", "global")


@dataclass(frozen=True)
class Principal:
    """Who asks. `capabilities` is what remains after the token's own restriction."""

    user_id: str
    user: str
    roles: tuple[str, ...]
    capabilities: frozenset[str]
    via: str  # token, session
    credential_id: str

    @property
    def rules_all(self) -> bool:
        """May act on what others own."""
        return "configure" in self.capabilities


@dataclass(frozen=True)
class Resource:
    """Something with an owner. `writes`: the action changes or controls it.

    Where it is shared, users with one of the roles `readers` (None: everybody) may use it, those with one of `writers`
    change it too.
    """

    kind: str
    name: str
    owner_id: str
    sharing: str = "user"
    writes: bool = False
    readers: frozenset[str] | None = None
    writers: frozenset[str] = frozenset()
    guests: frozenset[str] = frozenset()  # ids of users who may use it, however it is shared


def decide(principal: Principal | None, capability: str, resource: Resource | None = None) -> Principal | None:
    """Return the principal if the action is allowed; raise `Unauthenticated` or `Forbidden` otherwise.

    `capability` is one of `CAPABILITIES`, `OPEN` or `SIGNED_IN`; anything else is denied. With a resource: its owner
    may, whoever holds `configure` may, and others may read or use it where it is shared with their roles.
    """
    if capability == OPEN:
        return principal
    if principal is None:
        raise Unauthenticated(
            "No valid token or session.", remedy="Send `Authorization: Bearer <token>`, or sign in with a link."
        )
    if capability != SIGNED_IN and capability not in principal.capabilities:
        known = capability in CAPABILITIES
        raise Forbidden(
            f"{principal.user} lacks the capability {capability}." if known else "This action is not open to anyone.",
            remedy=f"Ask an administrator for a role with it: {', '.join(holders(capability))}." if known else "",
            capability=capability,
        )
    if resource is not None and not _may_touch(principal, resource):
        raise Forbidden(
            f"The {resource.kind} {resource.name} belongs to another user.",
            remedy="Use your own, or ask its owner to share it." if not resource.writes else "Ask its owner.",
            kind=resource.kind,
            name=resource.name,
        )
    return principal


def allowed(principal: Principal | None, capability: str, resource: Resource | None = None) -> bool:
    """`decide` as a question, for filtering lists."""
    try:
        decide(principal, capability, resource)
    except (Unauthenticated, Forbidden):
        return False
    return True


def _may_touch(principal: Principal, resource: Resource) -> bool:
    if principal.user_id == resource.owner_id or principal.rules_all:
        return True
    if principal.user_id in resource.guests and not resource.writes:
        return True
    if resource.sharing not in ("app", "global"):
        return False
    if resource.writers.intersection(principal.roles):
        return True
    return not resource.writes and (resource.readers is None or bool(resource.readers.intersection(principal.roles)))


def holders(capability: str) -> list[str]:
    """The roles that hold a capability."""
    return [role for role, held in ROLES.items() if capability in held]


def capabilities_of(roles: Iterable[str], restricted_to: Iterable[str] | None = None) -> frozenset[str]:
    """What roles give together, cut down to `restricted_to`. Unknown roles give nothing."""
    held = frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))
    return held if restricted_to is None else held & frozenset(restricted_to)


def check_known(values: Iterable[str], known: Iterable[str], kind: str) -> list[str]:
    """`values` sorted and without repeats; `InvalidOptions` names the first unknown one."""
    known = list(known)
    for value in values:
        if value not in known:
            best = nearest(value, known)
            hint = f"Did you mean {best!r}? " if best else ""
            raise InvalidOptions(
                f"{value!r} is no {kind}.", remedy=f"{hint}There is: {', '.join(known)}.", **{kind: value}
            )
    return sorted(set(values))
