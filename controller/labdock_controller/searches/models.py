"""Models as searches use them: the records that the caller may see."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa

from labdock.names import ModelRef, not_found
from labdock_controller.access.rights import Principal, decide
from labdock_controller.access.users import Users
from labdock_controller.models import Model, Models, Version
from labdock_controller.onnx_models import OnnxModels
from labdock_controller.searches.rights import principal
from labdock_search.onnx import OnnxModel
from labdock_search.protocols import Caller, Feature, ModelInfo


class SearchModels:
    """Implements `labdock_search.protocols.Models`. `remove` deletes a model with its files."""

    def __init__(self, users: Users, models: Models, onnx: OnnxModels, remove: Callable[[Model], None]) -> None:
        self._users, self._models, self._onnx, self._remove = users, models, onnx, remove

    def list(self, caller: Caller) -> list[ModelInfo]:
        return [_info(model) for model in self._models.visible(self._asker(caller))]

    def resolve(self, ref: ModelRef, caller: Caller) -> ModelInfo:
        found = self._find(ref, caller)
        self._models.uses.note(found.id)
        version = found.at(ref.version)
        if found.kind == "onnx":
            return _onnx_info(found, version, self._onnx.load(found, version))
        pinned = version.version if ref.version or found.current_version is not None else 0
        return replace(_info(found, version), pinned=pinned)

    def apply_onnx(
        self, model: ModelInfo, batches: Iterator[pa.RecordBatch], cancel: threading.Event
    ) -> Iterator[pa.RecordBatch]:
        found = self._models.by_id(model.id)
        loaded = self._onnx.load(found, found.at(str(model.version)))
        names = model.outputs.names if model.outputs is not None else []
        for batch in batches:
            predicted = loaded.predict(pa.Table.from_batches([batch]), cancelled=cancel.is_set).columns
            arrays = [_chunk(column) for column in predicted.values()]
            yield pa.RecordBatch.from_arrays(arrays, names=names)

    def delete(self, ref: ModelRef, caller: Caller) -> None:
        found = self._find(ref, caller)
        decide(self._asker(caller), "search", found.resource(writes=True))
        self._remove(found)

    def _asker(self, caller: Caller) -> Principal:
        return principal(self._users, caller)

    def _find(self, ref: ModelRef, caller: Caller) -> Model:
        asker = self._asker(caller)
        visible = [m for m in self._models.named(ref.name, asker) if m.kind == ref.kind and m.versions]
        shared = [m for m in visible if m.sharing != "user"]
        mine = [m for m in visible if m.owner_id == asker.user_id]
        # One's own fitted model answers to `app:m` too: the guide fits into `app:m` without the right to share.
        own = mine if ref.kind == "module" else []
        ranked = [*shared, *own] if ref.shared else [*mine, *shared, *visible]
        if not ranked:
            prefix = "onnx:" if ref.kind == "onnx" else ""
            raise not_found("model", ref.name, self._models.names(asker, ref.kind), f"See: | listmodels. ({prefix}…)")
        return ranked[0]


def _chunk(column: pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _onnx_info(model: Model, version: Version, loaded: OnnxModel) -> ModelInfo:
    """Features by what the model takes; the prediction's type from a run on no row."""
    kinds = [tensor.type for tensor in loaded.schema.inputs]
    single = kinds[0] if len(kinds) == 1 else ""
    features = [
        Feature(name, "string" if (single or kinds[i]) == "tensor(string)" else "number")
        for i, name in enumerate(version.features)
    ]
    outputs = pa.schema([pa.field(version.target[0], loaded.prediction_type)])
    return replace(_info(model, version), features=features, target=version.target[0], outputs=outputs)


def _info(model: Model, version: Version | None = None) -> ModelInfo:
    used = version or (model.current if model.versions else None)
    return ModelInfo(
        name=model.name,
        kind="onnx" if model.kind == "onnx" else "module",
        owner=model.owner,
        app=model.app,
        sharing=model.sharing,
        features=[Feature(name, "any") for name in used.features] if used else [],
        target=", ".join(used.target) if used else "",
        version=used.version if used else 0,
        created=used.created if used else model.created,
        environment=model.environment or "",
        module=used.module if used else "",
        id=model.id,
    )
