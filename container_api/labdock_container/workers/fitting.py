"""Fit, apply and summary inside a worker: module, model and frame meet here."""

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from labdock import frames
from labdock.errors import Conflict, InvalidFrame, InvalidOptions
from labdock.fingerprint import fingerprint
from labdock.names import check_name, not_found
from labdock.wire import FrameOptions
from labdock_container import tables
from labdock_container.background import threads
from labdock_container.models import Manifest, ModelStore, PendingVersion
from labdock_container.modules import LoadedModule, Modules
from labdock_container.needs import check_needs
from labdock_container.results import metrics_of, result_table, to_json
from labdock_container.workers import processes
from labdock_container.workers.describing import meta_of, origin_of, own_files
from labdock_container.workers.persistence import load, save

CACHE_SIZE = 32
Progress = Callable[[str], None]


@dataclass
class Fitted:
    """A model in this worker's memory, and what it was made from: equal keys mean that it is still right."""

    key: tuple[Any, ...]
    value: Any
    manifest: Manifest | None


@dataclass
class Answer:
    """What a task gives: a table, and what the wire format's `info` says of it."""

    table: pa.Table
    module: str
    model: str
    version: int | None = None
    info: Any = None
    metrics: dict[str, float] | None = None
    warnings: list[str] | None = None
    manifest: Manifest | None = None  # of a fit


class Fitter:
    """One worker's modules and warm models. `progress` is told each step."""

    def __init__(self, notebooks: Path, keep: int, progress: Progress) -> None:
        self.modules = Modules(notebooks)
        self.store = ModelStore(notebooks / "models", keep)
        self._progress = progress
        self._cache: OrderedDict[str, Fitted] = OrderedDict()
        self._unsettled: PendingVersion | None = None
        self._start = processes.status_bytes("self", "RssAnon")

    @property
    def unsettled(self) -> bool:
        """Whether a fit's answer was made and `settle` has not been called since."""
        return self._unsettled is not None

    @property
    def cached(self) -> list[str]:
        """Models that are warm here, the latest used last."""
        return list(self._cache)

    def fit(self, table: pa.Table, options: FrameOptions) -> Answer:
        """Train, keep and apply on the same rows; the new version is visible only once all of that worked."""
        check_name(options.model, "model")
        module = self.module(options.algo)
        for function in ("init", "fit", "apply"):
            _require(module, function)
        table, features = _view(table, options.features, options.target)
        if not table.num_rows:
            raise InvalidFrame("The frame has no rows to train on.", remedy="Send at least one row.")
        check_needs(module.needs, table.schema, module.name)
        param = meta_of(options, features, "fit")
        answer = Answer(table, module.name, options.model)

        def render(result: Any) -> None:
            _fill(answer, result, table)

        origin = origin_of(module, options, features, table.schema, table.num_rows)
        frame = _frame(table)
        hashed = threads().submit(fingerprint, table)  # while the module computes
        manifest = self.train(module, frame, param, origin, render, hashed)
        answer.version, answer.info, answer.metrics = manifest["version"], manifest["info"], manifest["metrics"]
        answer.manifest = manifest
        return answer

    def train(
        self,
        module: LoadedModule,
        frame: pd.DataFrame,
        param: dict[str, Any],
        origin: Manifest,
        render: Callable[[Any], None],
        hashed: Future[str] | None = None,
    ) -> Manifest:
        """`init`, `fit`, `save`, `apply` (whose result goes to `render`), and only then the new version.

        `hashed`: the data's fingerprint, once it is known.
        """
        begun = time.perf_counter()
        own = frame.copy(deep=False)  # what init and fit change stays with them; apply sees the frame as sent
        self._progress("init")
        model = module.call("init", own, param)
        self._progress("fit")
        info = module.call("fit", model, own, param)
        pending = self.store.begin(origin["model"])
        try:
            self._progress("save")
            persistence = save(module, model, pending.folder, origin["model"])
            seconds = round(time.perf_counter() - begun, 6)
            figures = {"metrics": metrics_of(info), "info": to_json(info), "duration": seconds}
            pending.write({**origin, "persistence": persistence, **figures}, hashed)
            render(self.run_apply(module, model, frame, param))
            manifest = pending.commit()
        except BaseException:
            pending.discard()
            raise
        self._unsettled = pending
        self._remember(origin["model"], Fitted(self._key(origin["model"], module), model, manifest))
        return manifest

    def settle(self) -> None:
        """What of a fit can wait until its answer is sent: the disk's last word, old versions."""
        pending, self._unsettled = self._unsettled, None
        if pending is not None:
            pending.settle()

    def apply(self, table: pa.Table, options: FrameOptions) -> Answer:
        """Apply the newest version of a model, or what the module's own `load` knows under that name."""
        module, fitted = self.fitted(options)
        _require(module, "apply")
        manifest = fitted.manifest or {}
        if not options.features and manifest:
            wanted = list(manifest["features"])
            table = tables.select(table, wanted + [t for t in manifest["target"] if t in table.column_names])
            features = wanted
        else:
            table, features = _view(table, options.features, options.target)
        target = options.target or manifest.get("target", [])
        params = {**manifest.get("params", {}), **options.params}
        asked = FrameOptions(algo=module.name, model=options.model, features=features, target=target, params=params)
        check_needs({c: t for c, t in module.needs.items() if c not in target}, table.schema, module.name)
        param = meta_of(asked, features, "apply")
        answer = Answer(table, module.name, options.model, version=manifest.get("version"))
        _fill(answer, self.run_apply(module, fitted.value, _frame(table), param), table)
        return answer

    def run_apply(self, module: LoadedModule, model: Any, frame: pd.DataFrame, param: dict[str, Any]) -> Any:
        """What the module's `apply` returns. `frame` itself cannot be changed by it: pandas copies on write."""
        self._progress("apply")
        return module.call("apply", model, frame.copy(deep=False), param)

    def summary(self, options: FrameOptions) -> dict[str, Any]:
        """What the module says of the model, or of itself where there is no such model."""
        if options.model == "default" and options.algo and self.store.newest("default") is None:
            module = self.module(options.algo)
            return {"model": None, "module": module.name, "summary": _summary(module)}
        module, fitted = self.fitted(options)
        return {"model": options.model, "module": module.name, "summary": _summary(module, fitted.value)}

    def module(self, name: str) -> LoadedModule:
        """The module as its notebook is now. Raises `NotFound`, `ModuleError`."""
        if not name:
            raise InvalidOptions("The option algo is missing.", remedy="Name the module: algo=<notebook>.")
        self._progress("module")
        self.modules.refresh(name)
        return self.modules.load(name)

    def fitted(self, options: FrameOptions) -> tuple[LoadedModule, Fitted]:
        """The module and the warm model that the options name, loaded if it is not warm or no longer right."""
        manifest = self._manifest(options)
        algo = options.algo or (manifest["module"] if manifest else "")
        if manifest is None and not algo:
            raise not_found("model", options.model, self.store.names(), "Fit it first, or name its module with algo.")
        if manifest is not None and algo != manifest["module"]:
            manifest = None  # another module's model of the same name: the module's own `load` decides
        module = self.module(algo)
        key = self._key(options.model, module, options.version)
        known = self._cache.get(options.model)
        if known is not None and known.key == key and None not in key:
            self._cache.move_to_end(options.model)
            return module, known
        self._progress("load")
        fitted = Fitted(key, load(self.store, module, manifest, options.model), manifest)
        self._remember(options.model, fitted)
        return module, fitted

    def _manifest(self, options: FrameOptions) -> Manifest | None:
        """Of the version asked for. Raises `Conflict` where the module keeps only its newest model."""
        if not options.version:
            return self.store.newest(options.model)
        manifest = self.store.version(options.model, options.version)
        if manifest["persistence"] != "joblib" and manifest != self.store.newest(options.model):
            raise Conflict(
                f"Version {options.version} of the model {options.model!r} is gone: its module's save overwrote it.",
                remedy="Leave save and load out of the notebook; Labdock then keeps every version.",
            )
        return manifest

    def _key(self, model: str, module: LoadedModule, version: int = 0) -> tuple[Any, ...]:
        """Differs whenever the model or its code may have changed: a new version, code, or a file saved by hand."""
        generation = self.store.generation(model)
        return (
            generation,
            version,
            module.name,
            module.sha256,
            own_files(self.modules.notebooks, f"{module.name}_{model}"),
        )

    def shrink(self, most: int) -> None:
        """Drop warm models, the least recently used first, until this process has grown by at most `most` bytes."""
        while len(self._cache) > 1 and processes.status_bytes("self", "RssAnon") - self._start > most:
            self._cache.popitem(last=False)

    def _remember(self, model: str, fitted: Fitted) -> None:
        self._cache[model] = fitted
        self._cache.move_to_end(model)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)


def _frame(table: pa.Table) -> pd.DataFrame:
    """The table for a module: mapped columns are not copied, unless they are so many that pandas gets slow."""
    return frames.to_pandas(table, split=True)


def _view(table: pa.Table, features: list[str], target: list[str]) -> tuple[pa.Table, list[str]]:
    """The columns that the module sees, and which of them are features."""
    chosen = features or [c for c in table.column_names if c not in target]
    return tables.select(table, [*chosen, *target]), chosen


def _require(module: LoadedModule, function: str) -> None:
    if function not in module.functions:
        module.call(function)  # raises the error that says which functions there are


def _summary(module: LoadedModule, *model: Any) -> Any:
    return to_json(module.call("summary", *model)) if "summary" in module.functions else None


def _fill(answer: Answer, result: Any, sent: pa.Table) -> None:
    """Put a module's result into `answer`; `sent` is the table that it was given."""
    answer.table = result_table(result, answer.module, frames.mark_nulls(sent.schema, sent))
    if answer.table.num_rows != sent.num_rows:
        answer.warnings = [f"apply returned {answer.table.num_rows:,} rows for {sent.num_rows:,}."]
