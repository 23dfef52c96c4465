"""Every cell of the table of rights in docs/models.md, against the registry and the searches."""

import threading
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from labdock.errors import Forbidden, LabdockError, NotFound
from labdock.names import ModelRef
from labdock_controller.access.rights import ROLES, Principal, capabilities_of
from labdock_controller.access.tokens import Tokens
from labdock_controller.access.users import Users
from labdock_controller.models import Models
from labdock_controller.onnx_models import OnnxModels, Upload
from labdock_controller.searches.models import SearchModels
from labdock_controller.store import Store
from labdock_search.protocols import Caller

_spec = spec_from_file_location("onnx_files", Path(__file__).with_name("onnx_files.py"))
assert _spec is not None
assert _spec.loader is not None
onnx_files = module_from_spec(_spec)
_spec.loader.exec_module(onnx_files)

OWNERS = {"own": "user", "private": "user", "app": "app", "global": "global"}


def table() -> list[tuple[str, str, bool]]:
    """Role, action and what the page says, for each cell."""
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    lines = [line for line in text.partition("test_model_rights.py reads this table")[2].splitlines() if "|" in line]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header, cells = rows[0], [row for row in rows[2:] if row[0] in ROLES]
    assert {word for row in cells for word in row[1:]} == {"yes", "no"}
    return [(row[0], action, word == "yes") for row in cells for action, word in zip(header[1:], row[1:], strict=True)]


CELLS = table()


class World:
    """A registry with each role's own model, and another user's for each sharing."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder / 's.sqlite3'}")
        self.store.migrate()
        self.store.claim(0, {})
        self.users = Users(self.store, Tokens(self.store))
        self.models = Models(self.store)
        self.onnx = OnnxModels(self.store, self.models, folder / "models")
        removed: Any = lambda model: self.models.remove(model.id)  # noqa: E731
        self.search = SearchModels(self.users, self.models, self.onnx, removed)
        self.file = onnx_files.linear([2.0], folder / "m.onnx")
        for role in ROLES:
            self.users.create(role, [role])
        self.users.create("other", ["admin", "mltk_model_admin"])
        for kind, sharing in OWNERS.items():
            for role in ROLES:
                self.make(f"{kind}_{role}", role if kind == "own" else "other", sharing)

    def make(self, name: str, owner: str, sharing: str) -> None:
        """A model as it may lie there from the time when its owner could upload."""
        user = self.users.get(owner)
        rights = capabilities_of(["admin", "mltk_model_admin"])
        able = Principal(user.id, user.name, user.roles, rights, "token", "c")
        self.onnx.upload(self.file.with_name(self._copy()), Upload(name, "y", ["a"], sharing=sharing), able)

    def _copy(self) -> str:
        copy = self.file.with_name("copy.onnx")
        copy.write_bytes(self.file.read_bytes())
        return copy.name

    def principal(self, name: str) -> Principal:
        user = self.users.get(name)
        return Principal(user.id, user.name, user.roles, capabilities_of(user.roles), "token", "c")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("rights"))
    yield made
    made.store.close()


def attempt(world: World, role: str, action: str) -> None:
    """Do it; raises where it is not allowed."""
    verb, _, kind = action.partition(" ")
    who = world.principal(role)
    if verb == "upload":
        world.onnx.upload(world.file.with_name(world._copy()), Upload(f"up_{role}", "y", ["a"]), who)
        return
    if verb == "share":
        world.models.share(world.models.get(f"own_{role}", who, writes=True), kind, "search", who)
        return
    name = f"{kind}_{role}"
    if verb == "see":
        assert world.models.get(name, who).name in [m.name for m in world.models.visible(who)]
    elif verb == "apply":
        search(world, role, name)
    else:
        model = world.models.get(name, who, writes=True)
        if verb == "change":
            world.models.describe(model, "changed")
            world.models.alias(model, "champion", "1")
        else:
            world.models.remove(model.id)


def search(world: World, role: str, name: str) -> None:
    import pyarrow as pa

    info = world.search.resolve(ModelRef(name, "onnx"), Caller(role))
    batch = pa.record_batch({"a": [1.5]})
    (answer,) = world.search.apply_onnx(info, iter([batch]), threading.Event())
    assert answer.column(0).to_pylist() == [3.0]


@pytest.mark.parametrize(("role", "action", "may"), CELLS)
def test_the_table_of_rights_holds(world: World, role: str, action: str, may: bool) -> None:
    if may:
        attempt(world, role, action)
        return
    with pytest.raises((Forbidden, NotFound)) as refused:
        attempt(world, role, action)
    seen = [m.name for m in world.models.visible(world.principal(role))]
    hidden = f"{action.partition(' ')[2]}_{role}" not in seen and action.split(maxsplit=1)[0] not in ("upload", "share")
    assert isinstance(refused.value, NotFound if hidden else Forbidden) or role == "viewer"


def test_the_table_states_every_cell() -> None:
    assert {role for role, _, _ in CELLS} == set(ROLES)
    assert len(CELLS) == len(ROLES) * 19
    assert len({(role, action) for role, action, _ in CELLS}) == len(CELLS)


def test_who_loses_the_right_loses_the_model_at_once(world: World) -> None:
    """As an alert of theirs would: it asks anew with each run."""
    world.users.create("loser", ["user"])
    world.make("lost", "other", "app")
    search(world, "loser", "lost")
    owner = world.principal("other")
    world.models.share(world.models.get("lost", owner), "user", "search", owner)
    with pytest.raises(LabdockError, match="lost"):
        search(world, "loser", "lost")
    world.models.share(world.models.get("lost", owner), "app", "search", owner)
    search(world, "loser", "lost")
    world.users.change("loser", active=False)
    with pytest.raises(Forbidden):
        search(world, "loser", "lost")
