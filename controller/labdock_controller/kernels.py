"""Kernels of environments as those who ask: `%%labdock_search` in a notebook, without a person's token in there.

A kernel shows the token of its environment, which it can read anyway and which ends with the environment. It asks in
the name of the owner (nobody else opens its notebooks), with the owner's rights of the moment cut down to searching,
and over the routes of searches alone: what runs in a notebook can do no more than a search that its owner types.
"""

import secrets

from labdock.errors import Forbidden, LabdockError
from labdock.wire import KERNEL_TOKEN
from labdock_controller.access.rights import Principal, capabilities_of
from labdock_controller.access.users import Users
from labdock_controller.environments import Environment, Environments
from labdock_controller.launcher import Launcher
from labdock_controller.reconcile import Status

VIA = "kernel"
CAPABILITIES = frozenset({"search"})
FOLDER = "/api/searches"
PATHS = frozenset({FOLDER, "/api/me", "/api/search/completion"})


def owner_of(
    environment: Environment, users: Users, via: str, restricted_to: frozenset[str] | None = None
) -> Principal | None:
    """The environment's owner with the rights of this moment; None where there is none, or one who is switched off."""
    owner = next((u for u in users.all() if u.id == environment.owner_id and u.active), None)
    if owner is None:
        return None
    held = capabilities_of(owner.roles, restricted_to)
    return Principal(owner.id, owner.name, owner.roles, held, via, environment.id)


class Kernels:
    """Answers which environment's kernel shows a token."""

    def __init__(self, users: Users, environments: Environments, launcher: Launcher) -> None:
        self._users, self._environments, self._launcher = users, environments, launcher

    def authenticate(self, secret: str) -> Principal | None:
        """Who asks with `lde_<environment>_<token>`; None where that is no running environment's token.

        Raises `Forbidden` for an environment in `prod`, which has no notebooks and by design no way to here.
        """
        identifier, _, shown = secret.removeprefix(KERNEL_TOKEN).partition("_")
        environment = self._environments.by_id(identifier)
        if environment is None or environment.status is not Status.RUNNING:
            return None
        try:
            token = self._launcher.token(identifier)
        except (LabdockError, OSError):
            return None
        if not secrets.compare_digest(token.encode(), shown.encode()):
            return None
        if environment.mode != "dev":
            raise Forbidden(
                f"The environment {environment.name} runs in prod: nothing in it asks the controller.",
                remedy="Search in a notebook of a dev environment, or pass the rows with the request.",
            )
        return owner_of(environment, self._users, VIA, CAPABILITIES)


def check_path(principal: Principal | None, path: str) -> None:
    """Raise `Forbidden` where a kernel asks for more than searches. `path` is the route's."""
    if principal is None or principal.via != VIA or path in PATHS or path.startswith(f"{FOLDER}/"):
        return
    raise Forbidden(
        f"A notebook may search in its owner's name, nothing else; {path} is something else.",
        remedy="Set LABDOCK_URL and LABDOCK_TOKEN in the notebook to a personal token (page Administration, Tokens).",
    )
