"""ONNX models: uploaded, checked in a throwaway process, kept by content, loaded once and applied to many tables.

Files are named after their SHA-256 below `LABDOCK_HOME/models`; the record says which version is which file.
"""

import hashlib
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from labdock.errors import Conflict, InvalidName, InvalidOptions, NotFound, StorageError
from labdock.home import fsync_folder
from labdock.names import NAME_LENGTH, check_name
from labdock_controller.access.rights import Principal, decide
from labdock_controller.models import DEFAULT_APP, Model, Models, Version, check_sharing
from labdock_controller.store import Store
from labdock_controller.store.tables import ModelRow, ModelVersionRow
from labdock_search.onnx import ModelLimits, ModelSchema, check_model

if TYPE_CHECKING:
    from labdock_search.onnx import OnnxModel

UPLOAD = ("upload_lookup_files", "upload_onnx_model_file")
LOADED = 16


@dataclass(frozen=True)
class Upload:
    """What the form says. Empty `features` are taken from the file; `threshold` makes a score a label."""

    name: str
    target: str
    features: Sequence[str] = ()
    threshold: float | None = None
    app: str = DEFAULT_APP
    sharing: str = ""
    description: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    card: str = ""  # Markdown; empty takes `model_card` of the file's metadata


def model_name(text: str) -> tuple[str, list[str]]:
    """The name that a file's name or a title stands for, and notices of what was changed. Raises `InvalidName`."""
    name, notices = text.strip(), []
    if name.lower().endswith(".onnx"):
        name = name[: -len(".onnx")]
        notices.append("'.onnx' was dropped from the name.")
    if " " in name:
        name = name.replace(" ", "_")
        notices.append("Spaces in the name became '_'.")
    check_name(name, "model")
    if "-" in name or name[0].isdigit():
        raise InvalidName(
            f"{name!r} is not a name for an ONNX model: searches could not write it.",
            remedy=f"Use 1 to {NAME_LENGTH} of the characters A-Z a-z 0-9 _ and begin with a letter or _.",
            kind="model",
            name=name,
        )
    return name, [*notices, f"The model is called {name}."] if notices else []


class OnnxModels:
    """The ONNX side of the registry. `limits` are the administrator's."""

    def __init__(self, store: Store, models: Models, folder: Path, limits: ModelLimits | None = None) -> None:
        self._store, self._models, self._folder = store, models, folder
        self.limits = limits or ModelLimits()
        self._loaded: OrderedDict[tuple[str, str], OnnxModel] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, path: Path, features: Sequence[str] = ()) -> ModelSchema:
        """What the file holds. Raises `ModelRefused` that names the check."""
        return check_model(path, features, self.limits)

    def upload(self, path: Path, upload: Upload, principal: Principal) -> tuple[Model, list[str]]:
        """Check the file at `path` and keep it as a new version; gives the model and notices.

        Raises `ModelRefused`, `InvalidName`, `InvalidOptions`, `Forbidden`. An earlier version stays usable whatever
        happens here.
        """
        for capability in UPLOAD:
            decide(principal, capability)
        check_sharing(upload.sharing, principal)
        check_name(upload.app, "app")
        name, notices = model_name(upload.name)
        schema = self.check(path, upload.features)
        features = list(upload.features) or schema.features
        _check_form(features, upload.target)
        digest = self._keep(path)
        self._record(name, digest, schema, features, upload, principal)
        return self._own(name, principal), notices

    def path(self, version: Version) -> Path:
        """The version's file. Raises `NotFound` where it is gone."""
        found = self._folder / version.module_sha256
        if not found.is_file():
            raise NotFound("The model's file is gone.", remedy="Upload it again.", kind="file", name="", nearest=None)
        return found

    def load(self, model: Model, version: Version | None = None) -> "OnnxModel":
        """The version in use or the one given, loaded once and kept for the next."""
        version = version or model.current
        key = (version.module_sha256, f"{version.features}{version.target}{version.params.get('threshold')}")
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
                return self._loaded[key]
        content = self.path(version).read_bytes()
        if hashlib.sha256(content).hexdigest() != version.module_sha256:
            raise StorageError(f"The file of the model {model.name} is damaged.", remedy="Upload it again.")
        from labdock_search.onnx import OnnxModel  # noqa: PLC0415 - ONNX Runtime comes with the first model

        schema = ModelSchema.from_dict(version.params["schema"])
        loaded = OnnxModel(content, schema, version.features, version.target[0], version.params.get("threshold"))
        with self._lock:
            self._loaded[key] = loaded
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
        return loaded

    def _keep(self, path: Path) -> str:
        """Move the file to its name; durable before anything names it."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
            os.fsync(file.fileno())
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._folder / digest.hexdigest()
        if not target.exists():
            path.replace(target)
            fsync_folder(self._folder)
        return digest.hexdigest()

    def _record(
        self, name: str, digest: str, schema: ModelSchema, features: list[str], upload: Upload, principal: Principal
    ) -> None:
        now = time.time()
        with self._models.changing() as session:
            query = select(ModelRow).where(
                ModelRow.kind == "onnx", ModelRow.name == name, ModelRow.owner_id == principal.user_id
            )
            row = session.scalars(query).one_or_none()
            if row is None:
                row = ModelRow(
                    id=secrets.token_hex(6), name=name, kind="onnx", owner_id=principal.user_id, app=upload.app,
                    sharing=upload.sharing or "user", environment_id=None, created=now,
                )  # fmt: skip
                session.add(row)
                session.flush()
            elif upload.sharing:
                row.sharing = upload.sharing
            row.description = upload.description or row.description or schema.description
            row.current_version = None
            versions = session.scalars(select(ModelVersionRow.version).where(ModelVersionRow.model_id == row.id))
            session.add(
                ModelVersionRow(
                    id=secrets.token_hex(6),
                    model_id=row.id,
                    version=max(versions, default=0) + 1,
                    created=now,
                    features=features,
                    target=[upload.target],
                    params={
                        "schema": {k: v for k, v in schema.to_dict().items() if k != "card"},
                        "threshold": upload.threshold,
                        "bytes": (self._folder / digest).stat().st_size,
                    },
                    metrics=upload.metrics,
                    rows=None,
                    duration=None,
                    module="",
                    module_sha256=digest,
                    card=upload.card or schema.card,
                    lineage={"producer": schema.producer, **upload.lineage} if schema.producer else upload.lineage,
                )
            )

    def _own(self, name: str, principal: Principal) -> Model:
        for model in self._models.named(name, principal):
            if model.kind == "onnx" and model.owner_id == principal.user_id:
                return model
        raise Conflict(f"The model {name} was removed meanwhile.", remedy="Upload it again.")


def _check_form(features: list[str], target: str) -> None:
    if not features:
        raise InvalidOptions(
            "The model's features have no names.", remedy="Name them in the model's order: --features a,b,c."
        )
    twice = sorted({f for f in features if features.count(f) > 1})
    if twice:
        raise InvalidOptions(f"Features named twice: {', '.join(twice)}.", remedy="Name each once.")
    if not target.strip() or len(target) > 255:
        raise InvalidOptions("The target variable has no name.", remedy="Name what the model predicts: --target Class.")
