"""Hosts for the engine: small and real. Indexes are Parquet files, lookups Arrow tables, models run on onnxruntime,
environments run a module's functions in this process."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from labdock.errors import Forbidden
from labdock.names import ModelRef, not_found
from labdock.wire import FrameOptions
from labdock_search import Engine, Settings
from labdock_search.protocols import (
    Caller,
    DataFile,
    Feature,
    IndexData,
    Job,
    LookupTable,
    ModelInfo,
    Predicted,
    Staged,
)

NOW = 1_534_777_200.0  # 2018-08-20 15:00:00 UTC


class FixedClock:
    def now(self) -> float:
        return NOW


@dataclass
class FolderIndexes:
    """Indexes of Parquet files; `readers` says who may read which index (everybody without an entry)."""

    folder: Path
    data: dict[str, IndexData] = field(default_factory=dict)
    readers: dict[str, set[str]] = field(default_factory=dict)

    def names(self, caller: Caller) -> list[str]:
        return [n for n in self.data if caller.user in self.readers.get(n, {caller.user})]

    default_names = names

    def open(self, name: str, caller: Caller) -> IndexData:
        if name not in self.names(caller):
            raise not_found("index", name, self.names(caller))
        return self.data[name]

    def add(self, name: str, *tables: pa.Table, facts: tuple[str, ...] = ()) -> IndexData:
        """An index with one file for each table; files know their times and the values of `facts`."""
        files = []
        schemas = []
        for number, table in enumerate(tables):
            path = self.folder / f"{name}-{number}.parquet"
            pq.write_table(table, path)
            times = pc.min_max(table["_time"]).as_py() if "_time" in table.column_names else {"min": None, "max": None}
            values = {f: frozenset(pc.unique(table[f]).to_pylist()) for f in facts if f in table.column_names}
            files.append(
                DataFile(
                    str(path), table.num_rows, f"{name}/{number}", times["min"], times["max"], values, table.schema
                )
            )
            schemas.append(table.schema)
        types: dict[str, pa.DataType] = {}
        for item in [item for schema in schemas for item in schema]:
            if pa.types.is_string(item.type) or not pa.types.is_string(types.get(item.name, item.type)):
                types[item.name] = item.type
        self.data[name] = IndexData(name, files, pa.schema(list(types.items())))
        return self.data[name]


@dataclass
class TableLookups:
    tables: dict[str, pa.Table] = field(default_factory=dict)
    readers: dict[str, set[str]] = field(default_factory=dict)

    def names(self, caller: Caller) -> list[str]:
        return [n for n in self.tables if caller.user in self.readers.get(n, {caller.user})]

    def open(self, name: str, caller: Caller) -> LookupTable:
        if name not in self.names(caller):
            raise not_found("lookup", name, self.names(caller))
        table = self.tables[name]
        return LookupTable(name, table.schema, table.num_rows, table=table)

    def write(self, name: str, batches: pa.RecordBatchReader, caller: Caller, *, append: bool) -> int:
        if caller.user == "viewer":
            raise Forbidden("viewer may not write lookups.", remedy="Ask an admin.")
        table = batches.read_all()
        old = [self.tables[name]] if append and name in self.tables else []
        self.tables[name] = pa.concat_tables([*old, table], promote_options="default")
        return table.num_rows


@dataclass
class OnnxModels:
    """ONNX models by name on onnxruntime, and the module models that an environment fitted."""

    sessions: dict[str, tuple[ModelInfo, onnxruntime.InferenceSession]] = field(default_factory=dict)
    modules: dict[str, ModelInfo] = field(default_factory=dict)

    def list(self, caller: Caller) -> list[ModelInfo]:
        found = [info for info, _ in self.sessions.values()] + list(self.modules.values())
        return [m for m in found if m.sharing != "user" or m.owner == caller.user]

    def resolve(self, ref: ModelRef, caller: Caller) -> ModelInfo:
        for model in self.list(caller):
            if (model.name, model.kind) == (ref.name, ref.kind) and not (ref.shared and model.sharing == "user"):
                return model
        raise not_found("model", ref.name, [m.name for m in self.list(caller)])

    def apply_onnx(
        self, model: ModelInfo, batches: Iterator[pa.RecordBatch], cancel: threading.Event
    ) -> Iterator[pa.RecordBatch]:
        session = self.sessions[model.name][1]
        for batch in batches:
            values = np.column_stack([c.to_numpy(zero_copy_only=False) for c in batch.columns]).astype(np.float32)
            result = session.run(None, {"x": values})[0].reshape(-1)
            yield pa.record_batch([pa.array(result, pa.float64())], schema=model.outputs)

    def delete(self, ref: ModelRef, caller: Caller) -> None:
        self.resolve(ref, caller)
        (self.sessions if ref.kind == "onnx" else self.modules).pop(ref.name)

    def add_sum(
        self, name: str, features: Sequence[str], target: str, owner: str = "anna", sharing: str = "user"
    ) -> None:
        """A model that adds its features up."""
        graph = helper.make_graph(
            [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)],
            "sum",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(features)])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
            [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        info = ModelInfo(
            name,
            "onnx",
            owner,
            "search",
            sharing,
            [Feature(f) for f in features],
            target,
            outputs=pa.schema([pa.field(target, pa.float64())]),
        )
        self.sessions[name] = (info, onnxruntime.InferenceSession(model.SerializeToString()))


@dataclass
class ModuleEnvironments:
    """Runs modules (objects with `init`, `fit`, `apply`) on pandas frames in this process."""

    models: OnnxModels
    modules: dict[str, Any] = field(default_factory=dict)
    fitted: dict[str, tuple[str, Any]] = field(default_factory=dict)
    staged: dict[str, pa.Table] = field(default_factory=dict)
    options: list[FrameOptions] = field(default_factory=list)

    def _module(self, name: str) -> Any:
        if name not in self.modules:
            raise not_found("module", name, self.modules)
        return self.modules[name]

    def stage(self, frame: pa.Table, options: FrameOptions, job: Job) -> Staged:
        self._module(options.algo)
        self.options.append(options)
        self.staged[options.model] = frame
        return Staged(frame.num_rows, [f"data/{options.model}.csv"])

    def fit(self, frame: pa.Table, options: FrameOptions, job: Job) -> Predicted:
        module = self._module(options.algo)
        self.options.append(options)
        param: Mapping[str, Any] = {"options": {"params": options.params}, "feature_variables": options.features}
        table = frame.to_pandas()
        model = module.init(table, param)
        module.fit(model, table, param)
        self.fitted[options.model] = (options.algo, model)
        features = [Feature(f, "any") for f in options.features]
        sharing = "app" if job.shared else "user"
        self.models.modules[options.model] = ModelInfo(
            options.model, "module", job.caller.user, job.caller.app, sharing, features, module=options.algo
        )
        return self.apply(frame, options, job)

    def apply(self, frame: pa.Table, options: FrameOptions, job: Job) -> Predicted:
        if options.model not in self.fitted:
            raise not_found("model", options.model, self.fitted)
        algo, model = self.fitted[options.model]
        answer = self._module(algo).apply(model, frame.to_pandas(), {})
        return Predicted(pa.Table.from_pandas(answer, preserve_index=False))

    def summary(self, model: str, job: Job) -> Mapping[str, Any]:
        return {"algo": self.fitted[model][0]}


def _far_from_mean() -> Any:
    """A module: `outlier` is negative where `count` is above the mean seen in training."""

    def init(df: Any, param: Any) -> dict[str, float]:
        return {}

    def fit(model: dict[str, float], df: Any, param: Any) -> dict[str, str]:
        model["mean"] = float(df["count"].mean())
        return {}

    def apply(model: dict[str, float], df: Any, param: Any) -> Any:
        import pandas as pd

        return pd.DataFrame({"outlier": model["mean"] - df["count"]})

    return SimpleNamespace(init=init, fit=fit, apply=apply)


@dataclass
class Lab:
    """An engine with its hosts, and the ways tests use it."""

    engine: Engine
    indexes: FolderIndexes
    lookups: TableLookups
    models: OnnxModels
    environments: ModuleEnvironments

    def rows(self, search: str, **options: Any) -> list[dict[str, Any]]:
        return self.engine.search(search, user=options.pop("user", "anna"), **options).rows()

    def table(self, search: str, **options: Any) -> pa.Table:
        return self.engine.search(search, user=options.pop("user", "anna"), **options).table()

    def value(self, expression: str, **options: Any) -> Any:
        """What an eval expression gives; `mv` is a field of the values a1, a2, b1."""
        found = self.rows(f'| makeresults | eval mv=split("a1,a2,b1", ",") | eval y={expression} | table y', **options)
        return found[0]["y"]

    def column(self, search: str, field: str, **options: Any) -> list[Any]:
        return [row[field] for row in self.rows(search, **options)]

    def messages(self, search: str, **options: Any) -> list[str]:
        result = self.engine.search(search, user=options.pop("user", "anna"), **options)
        result.table()
        return [m.text for m in result.messages]


MakeLab = Callable[..., Lab]


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[MakeLab]:
    engines: list[Engine] = []

    def make(**settings: Any) -> Lab:
        indexes, lookups, models = FolderIndexes(tmp_path), TableLookups(), OnnxModels()
        environments = ModuleEnvironments(models, {"far_from_mean": _far_from_mean()})
        chosen = {"threads": 2, "spill_folder": tmp_path / "spill", **settings}
        engine = Engine(indexes, lookups, environments, models, Settings(**chosen), FixedClock())
        engines.append(engine)
        return Lab(engine, indexes, lookups, models, environments)

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return make_lab()


@pytest.fixture
def flows() -> pa.Table:
    """Small made network flows, some without a value here and there."""
    random = np.random.default_rng(5)
    count = 2_000
    start = 1_534_766_400.0
    times = np.sort(random.uniform(start, start + 7_200, count))
    missing = random.random(count) < 0.05
    return pa.table(
        {
            "_time": times,
            "sourcetype": pa.array(["stream:tcp"] * count),
            "src_ip": [f"10.0.0.{i}" for i in random.integers(1, 9, count)],
            "dest_ip": [f"192.168.1.{i}" for i in random.integers(1, 30, count)],
            "dest_port": random.choice([22, 80, 443, 8080], count),
            "bytes_in": pa.array(random.integers(40, 10_000, count), mask=missing),
            "client_rtt": random.exponential(20_000.0, count),
            "protocol_stack": random.choice(["ip:tcp", "ip:tcp:http", "ip:tcp:ssl"], count).tolist(),
        }
    )


@pytest.fixture
def events() -> pa.Table:
    """Small made Windows events with accounts that are missing."""
    random = np.random.default_rng(6)
    count = 1_500
    start = 1_534_766_400.0
    accounts = ["anna", "bert", "SYSTEM", None]
    return pa.table(
        {
            "_time": random.uniform(start, start + 4 * 3_600, count),
            "ComputerName": [f"WS{i}" for i in random.integers(1, 5, count)],
            "Account_Name": pa.array([accounts[i] for i in random.integers(0, 4, count)], pa.string()),
            "EventCode": random.choice([4624, 4625, 4688], count),
            "source": ["XmlWinEventLog:WinEventLog:Security"] * count,
        }
    )
