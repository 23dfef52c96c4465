"""`labdock quotas`: how much the running environments of one user may take together."""

from typing import Annotated

import typer

from labdock.cli import options
from labdock.cli.output import show_json, show_table
from labdock.errors import InvalidOptions
from labdock.quotas import RESOURCES

COLUMNS = {"kind": "OF", "name": "NAME", "environments": "ENVIRONMENTS", "cpus": "CPUS", "memory_mb": "MEMORY MB",
           "gpus": "GPUS", "changed_by": "SET BY"}  # fmt: skip
NONE = "No quota is set: only the number of environments is limited (LABDOCK_ENVIRONMENTS_PER_USER)."


def quotas(
    role: Annotated[str | None, typer.Option("--role", help="Set that of each user with this role.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Set that of one user.")] = None,
    environments: Annotated[int | None, typer.Option("--environments", help="How many may run.")] = None,
    cpus: Annotated[float | None, typer.Option("--cpus", help="CPUs of all together.")] = None,
    memory: Annotated[int | None, typer.Option("--memory", help="Memory of all together, MB.")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", help="GPUs of all together.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the role's or user's quota.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="What holds for me, and how much of it is used.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List quotas, or set one anew: what it does not name it does not limit.

    Example: labdock quotas --role user --environments 3 --cpus 8
    """
    given = dict(zip(RESOURCES, (environments, cpus, memory, gpus), strict=True))
    named = {kind: name for kind, name in (("role", role), ("user", user)) if name}
    wanted = {name: value for name, value in given.items() if value is not None}
    if len(named) > 1 or (wanted and not named) or (named and bool(wanted) == remove) or (remove and not named):
        raise InvalidOptions(
            "A quota is set or removed for one role or one user.",
            remedy="Name --role or --user, and what it limits (--environments, --cpus, --memory, --gpus) or --remove.",
        )
    with options.lab() as lab:
        if mine:
            holds = lab.quotas.mine()
            rows = [{"name": n, "used": holds["used"][n], "quota": holds["quota"][n]} for n in RESOURCES]
            columns = {"name": "WHAT", "used": "USED", "quota": "QUOTA"}
            show_json(holds) if as_json else show_table(rows, columns, empty="")
            return
        if named:
            [(kind, name)] = named.items()
            found = lab.quotas.set(kind, name, **wanted)
        else:
            found = lab.quotas.list()
    if as_json:
        show_json(found)
    else:
        show_table(found, COLUMNS, empty=NONE)
