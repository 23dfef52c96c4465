"""ONNX models: `apply` on 1,000,000 rows of 30 floats against plain onnxruntime over the same array.

Both with the same threads, in one process, in turn. `apply` is what searches and `/v2/models/{name}/arrow` run:
`OnnxModel.predict` on an Arrow table, null checks and the answer's column included. Memory is measured in a process of
its own, above what it holds before.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper, save

from benchmarks.report import Report, interleave
from labdock_search.onnx import OnnxModel, check_model
from labdock_search.onnx.predict import usable_cpus

FEATURES = [f"f{i}" for i in range(30)]
# The credit card network of the lab's models, and the botnet's.
NETWORKS = {"256-256-256": ((256, 256, 256), "<= 1.1"), "16-8": ((16, 8), "<= 2")}
BLOCK = 4096
MEMORY = 1024.0  # MB


def network(layers: tuple[int, ...], path: Path) -> Path:
    """Dense layers with ReLU, a sigmoid at the end; weights of a fixed seed."""
    random = np.random.default_rng(0)
    nodes, weights, last, width = [], [], "x", len(FEATURES)
    for number, units in enumerate([*layers, 1]):
        values = (random.normal(size=(width, units)) / np.sqrt(width)).astype(np.float32)
        weights += [
            numpy_helper.from_array(values, f"w{number}"),
            numpy_helper.from_array(np.zeros(units, np.float32), f"b{number}"),
        ]
        out = "score" if number == len(layers) else f"h{number}"
        nodes += [
            helper.make_node("MatMul", [last, f"w{number}"], [f"m{number}"]),
            helper.make_node("Add", [f"m{number}", f"b{number}"], [f"a{number}"]),
            helper.make_node("Sigmoid" if out == "score" else "Relu", [f"a{number}"], [out]),
        ]
        last, width = out, units
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(FEATURES)])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "network", inputs, outputs, weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def rows(count: int) -> np.ndarray:
    found: np.ndarray = np.random.default_rng(1).normal(size=(count, len(FEATURES))).astype(np.float32)
    return found


def table_of(array: np.ndarray) -> pa.Table:
    return pa.table({name: pa.array(np.ascontiguousarray(array[:, i])) for i, name in enumerate(FEATURES)})


def plain(session: ort.InferenceSession, array: np.ndarray) -> np.ndarray:
    """What a user would write: runs of 4,096 rows, one after the other."""
    parts = [session.run(["score"], {"x": array[i : i + BLOCK]})[0] for i in range(0, len(array), BLOCK)]
    joined: np.ndarray = np.concatenate(parts)
    return joined[:, 0]


def session_of(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(report: Report, *, small: bool) -> None:
    count = 20_000 if small else 1_000_000
    threads = usable_cpus()
    with tempfile.TemporaryDirectory() as folder:
        report.title(f"apply onnx: on {count:,} rows of 30 floats, {threads} threads, against plain onnxruntime, ms")
        for name, (layers, bound) in NETWORKS.items():
            path = network(layers, Path(folder) / f"{name}.onnx")
            measure(report, path, name, bound, count, threads)
        report.title("memory of an apply, MB above the table and the loaded model")
        arguments = [sys.executable, "-m", "benchmarks.onnx", folder, str(count)]
        done = subprocess.run(arguments, check=True, capture_output=True)
        for name, peak in json.loads(done.stdout).items():
            report.line(name, peak, None, peak / MEMORY, "<= 1", "MB, ratio to 1 GB")


def measure(report: Report, path: Path, name: str, bound: str, count: int, threads: int) -> None:
    array = rows(count)
    table = table_of(array)
    loaded = OnnxModel(path.read_bytes(), check_model(path, FEATURES), FEATURES, "y", threads=threads)
    session = session_of(path, threads)
    wanted = plain(session, array)
    cpu = {"apply": 0.0, "plain": 0.0}

    def timed(who: str) -> float:
        begun, used = time.perf_counter(), time.process_time()
        found = loaded.predict(table).columns["predicted(y)"] if who == "apply" else plain(session, array)
        seconds = time.perf_counter() - begun
        cpu[who] += time.process_time() - used
        assert np.allclose(np.asarray(found)[::997], wanted[::997], rtol=1e-5, atol=1e-5)
        return seconds

    rounds = 5
    seconds = interleave({who: lambda who=who: timed(who) for who in cpu}, rounds)
    ours, other = seconds["apply"] * 1e3, seconds["plain"] * 1e3
    report.line(f"{name}, wall", ours, other, ours / other, bound)
    report.line(
        f"{name}, CPU", cpu["apply"] / rounds * 1e3, cpu["plain"] / rounds * 1e3, cpu["apply"] / cpu["plain"], ""
    )
    first = timed("apply") * 1e3  # the session is kept: no call after the first pays for a load
    report.line(f"{name}, once more", first, ours, first / ours, "")


def peak(folder: Path, count: int) -> dict[str, float]:
    """Megabytes that an apply adds at its highest; each network after the other, the largest first."""
    table = table_of(rows(count))
    found = {}
    for name in NETWORKS:
        path = folder / f"{name}.onnx"
        loaded = OnnxModel(path.read_bytes(), check_model(path, FEATURES), FEATURES, "y")
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
        loaded.predict(table)
        status = Path("/proc/self/status").read_text()
        highest = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
        found[name] = highest - before
    return found


if __name__ == "__main__":
    print(json.dumps(peak(Path(sys.argv[1]), int(sys.argv[2]))))
