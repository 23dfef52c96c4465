"""Models: what was fitted or uploaded, with versions, and how to put one to work."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labdock.connection import segment
from labdock.data import send_file
from labdock.errors import Conflict, InvalidOptions
from labdock.names import ModelRef, not_found

if TYPE_CHECKING:
    from labdock.environment import Environment
    from labdock.lab import Lab


class Model:
    """A model as the controller knows it. `record` is its whole record, `version` the newest version's part of it."""

    def __init__(self, lab: "Lab", record: dict[str, Any]) -> None:
        self.lab = lab
        self.record = record
        self.wanted = ""  # the version that `get("m@…")` asked for

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def kind(self) -> str:
        """`module` (fitted by a module) or `onnx`."""
        return str(self.record.get("kind", "module"))

    @property
    def sharing(self) -> str:
        """`user`, `app` or `global`."""
        return str(self.record.get("sharing") or "user")

    @property
    def versions(self) -> list[dict[str, Any]]:
        """Newest first: `version, created, features, target, params, metrics, rows, duration, module, …`."""
        return sorted(self.record.get("versions") or [], key=lambda v: v.get("version") or 0, reverse=True)

    @property
    def version(self) -> dict[str, Any]:
        """The version that was asked for, else the newest; empty where there is none. Raises `NotFound`."""
        if not self.wanted:
            return self.versions[0] if self.versions else {}
        number = int(self.wanted) if self.wanted.isdecimal() else self.aliases.get(self.wanted)
        found = next((v for v in self.versions if v.get("version") == number), None)
        if found is None:
            known = [*self.aliases, *(str(v.get("version")) for v in self.versions)]
            raise not_found("version", f"{self.name}@{self.wanted}", known)
        return found

    @property
    def features(self) -> list[str]:
        return list(self.version.get("features") or [])

    @property
    def target(self) -> list[str]:
        found = self.version.get("target") or []
        return [found] if isinstance(found, str) else list(found)

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.version.get("metrics") or {})

    @property
    def environment(self) -> "Environment":
        """The environment that it was fitted in. Raises `NotFound` when that is gone, `Conflict` without one."""
        name = self.record.get("environment")
        if not name:
            raise Conflict(f"The model {self.name!r} belongs to no environment.", remedy="Use it in a search.")
        return self.lab.environments.get(str(name))

    def apply(self, data: Any, *, progress: bool | None = None) -> Any:
        """Predictions for the rows of `data`.

        A module's: its `apply`, in the environment that it was fitted in (`Environment.apply`). An ONNX model's: the
        column `predicted(<target>)`, null where a feature is null.
        """
        if self.kind == "onnx":
            import pyarrow as pa  # noqa: PLC0415 - commands that only list models start faster without it

            from labdock.frames import to_table  # noqa: PLC0415
            from labdock.transport import decode, encode  # noqa: PLC0415
            from labdock.wire import ARROW_STREAM  # noqa: PLC0415

            table, restore = to_table(data)
            at = f"/versions/{segment(self.wanted)}" if self.wanted else ""
            path = f"/v2/models/{segment(self.name)}{at}/arrow"
            response = self.lab.connection.request("POST", path, encode(table), {"Content-Type": ARROW_STREAM})
            return restore(decode(pa.py_buffer(response.read()))[0])
        return self.environment.apply(data, model=self, progress=progress)

    def summary(self) -> Any:
        """What the module's `summary` says about the model."""
        return self.environment.summary(self)

    @property
    def notices(self) -> list[str]:
        """What an upload changed, such as the name."""
        return list(self.record.get("notices") or [])

    @property
    def aliases(self) -> dict[str, int]:
        """Names of versions: with `champion`, searches can say `onnx:m@champion`."""
        return dict(self.record.get("aliases") or {})

    def download(self, path: "str | Path", version: "int | str" = "") -> Path:
        """Write the ONNX file of the version in use, or of another (number or alias), to `path`."""
        target = Path(path)
        answer = self.lab.connection.request("GET", f"{self._path}/file", version=version or self.wanted or None)
        target.write_bytes(answer.read())
        return target

    def use(self, version: "int | None") -> "Model":
        """Put an earlier version to work (rollback), or with None the newest again."""
        return self._change("PUT", "version", {"version": version})

    def alias(self, alias: str, version: "int | str | None" = None) -> "Model":
        """Let `name@alias` mean a version (number or alias); without one, the version in use."""
        return self._change("PUT", f"aliases/{segment(alias)}", {"version": version})

    def remove_alias(self, alias: str) -> "Model":
        self._call("DELETE", f"aliases/{segment(alias)}")
        return self._change("GET", "")

    def describe(self, description: str) -> "Model":
        """Say what the model is about."""
        return self._change("PATCH", "", {"description": description})

    def card(self, version: "int | str" = "") -> str:
        """The model card, Markdown; generated where nobody wrote one."""
        return str(self._call("GET", "card", version=version or self.wanted or None))

    def write_card(self, card: "str | Path", version: "int | str" = "") -> "Model":
        """Keep `card` (Markdown, or the path of a file) as the version's model card."""
        return self._change("PUT", "card", {"card": text_of(card), "version": str(version or self.wanted)})

    @property
    def _path(self) -> str:
        return f"/api/models/{segment(self.name)}"

    def _call(self, method: str, rest: str, body: Any = None, **query: Any) -> Any:
        path = f"{self._path}/{rest}" if rest else self._path
        place = self.record.get("environment") or None
        return self.lab.connection.call(method, path, body, kind=self.kind, environment=place, **query)

    def _change(self, method: str, rest: str, body: Any = None) -> "Model":
        self.record = self._call(method, rest, body)
        return self

    def share(self, sharing: str, app: str = "search") -> "Model":
        """`user` (yours alone), `app` or `global`."""
        body = {"sharing": sharing, "app": app}
        self.record = self.lab.connection.call("PUT", f"/api/models/{segment(self.name)}/sharing", body, kind=self.kind)
        return self

    def delete(self) -> None:
        """Remove the model with all its versions."""
        self.lab.models.delete(ModelRef(self.name, self.kind))

    @property
    def reference(self) -> ModelRef:
        """As a search would write it."""
        return ModelRef(self.name, self.kind, self.sharing != "user", self.wanted)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.reference} with {len(self.versions)} version(s)>"


_PAGE = 500


class Models:
    """`lab.models`."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def upload(
        self,
        file: "str | Path",
        name: str | None = None,
        *,
        target: str,
        features: Sequence[str] = (),
        threshold: float | None = None,
        app: str = "search",
        sharing: str = "",
        description: str = "",
        card: "str | Path" = "",
        metrics: Mapping[str, float] | None = None,
        lineage: Mapping[str, Any] | None = None,
    ) -> Model:
        """Keep an ONNX file as a new version of a model, which searches use as `apply onnx:<name>`.

        `features` in the model's order; empty takes the names that the file gives. With a `threshold` the prediction
        is the label 0 or 1 instead of the score. `card` is Markdown or the path of a file; without one the file's
        metadata (`model_card`), else a generated one. Raises `ModelRefused` that names the check which the file failed.
        """
        path = Path(file)
        query = {
            "name": name or path.name,
            "target": target,
            "features": ",".join(features),
            "threshold": threshold,
            "app": app,
            "sharing": sharing,
            "description": description,
            "metrics": json.dumps(dict(metrics)) if metrics else "",
            "lineage": json.dumps(dict(lineage)) if lineage else "",
        }
        record = send_file(self._lab, path, "/api/models/onnx", {k: v for k, v in query.items() if v not in (None, "")})
        made = Model(self._lab, record)
        if card:
            notices = made.notices
            made.write_card(card)
            made.record["notices"] = notices
        return made

    def check(self, file: "str | Path") -> dict[str, Any]:
        """What an ONNX file holds: `features`, `inputs`, `outputs`, `width`. Nothing is kept."""
        return send_file(self._lab, Path(file), "/api/models/onnx/check", {})

    def list(self, *, contains: str = "", kind: str = "") -> "list[Model]":
        """Every model that the caller may see, by name; those whose name holds `contains`, of one `kind`."""
        found: list[Model] = []
        while True:
            page = self._lab.connection.call(
                "GET", "/api/models", offset=len(found), count=_PAGE, contains=contains or None, kind=kind or None
            )
            found += [Model(self._lab, record) for record in page]
            if len(page) < _PAGE:
                return found

    def get(self, name: str | ModelRef) -> Model:
        """The model of that name (`m`, `app:m`, `onnx:m`; `m@3` and `m@champion` mean a version of it).

        Raises `NotFound` that names the nearest.
        """
        wanted = ModelRef.parse(name) if isinstance(name, str) else name
        model = Model(self._lab, self._lab.connection.call("GET", _path(wanted)))
        model.wanted = wanted.version
        model.version  # noqa: B018 - raises where there is no such version
        return model

    def delete(self, name: str | ModelRef) -> None:
        """Remove the model with all its versions. Raises `NotFound`."""
        wanted = ModelRef.parse(name) if isinstance(name, str) else name
        if wanted.version:
            raise InvalidOptions("Models are removed whole, not by version.", remedy=f"Name {wanted.name} without @.")
        self._lab.connection.call("DELETE", _path(wanted))

    def __iter__(self) -> Iterator[Model]:
        return iter(self.list())


def reference(model: str | ModelRef | Model) -> ModelRef:
    """What a caller means by `model`. Raises `InvalidName`."""
    if isinstance(model, str):
        return ModelRef.parse(model)
    return model.reference if isinstance(model, Model) else model


def _path(name: str | ModelRef) -> str:
    reference = ModelRef.parse(name) if isinstance(name, str) else name
    return f"/api/models/{segment(reference.name)}{'?kind=onnx' if reference.kind == 'onnx' else ''}"


def text_of(card: "str | Path") -> str:
    """A card's Markdown: the text itself, or what the file of that path holds."""
    if isinstance(card, Path) or (card.endswith(".md") and "\n" not in card):
        return Path(card).read_text(encoding="utf-8")
    return card


def names(value: str | Sequence[str] | None) -> "list[str]":
    """One name or several as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(v) for v in value]
