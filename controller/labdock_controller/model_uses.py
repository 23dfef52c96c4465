"""When models were last used: noted in memory, since applies are many, and written now and then."""

import time

from sqlalchemy import BindParameter, ColumnElement, and_, update

from labdock.names import NAME_LENGTH
from labdock_controller.model_rows import Model
from labdock_controller.store import Store
from labdock_controller.store.tables import ModelRow

MOST = 10_000  # what nobody wrote yet; names that no model has are among them


class ModelUses:
    """A search, a client's apply, a request over the inference protocol, a download: all are uses."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[str | tuple[str, str], float] = {}  # by id, or by environment and name

    def note(self, model_id: str) -> None:
        """The model is used now."""
        self._noted[model_id] = time.time()

    def note_in(self, environment_id: str, name: str) -> None:
        """What an environment calls `name` is used now; which model that is, is looked up when it is written."""
        if len(name) <= NAME_LENGTH and len(self._noted) < MOST:
            self._noted[environment_id, name] = time.time()

    def last(self, model: Model) -> float | None:
        """Its last use, whether written yet or not."""
        place = (model.environment_id or "", model.name)
        return max(filter(None, (model.last_used, self._noted.get(model.id), self._noted.get(place))), default=None)

    def tidy(self) -> None:
        """Write what was noted. Called now and then."""
        noted = dict(self._noted)
        if not noted:
            return
        with self._store.write() as session:
            for key, when in noted.items():
                chosen = ModelRow.id == key if isinstance(key, str) else called(*key)
                session.execute(update(ModelRow).where(chosen).values(last_used=when))
        for key, when in noted.items():
            if self._noted.get(key) == when:
                del self._noted[key]


def called(environment_id: str | BindParameter[str], name: str | BindParameter[str]) -> ColumnElement[bool]:
    """The fitted model of that name in an environment."""
    return and_(ModelRow.environment_id == environment_id, ModelRow.kind == "module", ModelRow.name == name)
