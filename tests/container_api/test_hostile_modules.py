"""Modules that fail in every way a process can. Each costs its own request only, and the error says what happened."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from tests.waiting import wait_for

GOOD = """
    import pandas as pd
    def init(df, param): return 0
    def fit(model, df, param): pass
    def apply(model, df, param): return pd.DataFrame({"rows": [len(df)] * len(df)})
"""


@pytest.fixture(scope="module")
def hostile(start_api):
    api = start_api(LABDOCK_WORKERS="2", LABDOCK_WORKER_MEMORY_MB="600")
    api.module("good", GOOD)
    assert api.frame("fit", table(), algo="good", model="good").status == 200
    return api


@pytest.fixture(autouse=True)
def the_environment_goes_on(hostile):
    """After every test: a model applies, and nothing but the API, the nursery and the two workers is left."""
    yield
    assert hostile.frame("apply", table(), model="good").table["rows"].to_pylist() == [3, 3, 3]
    deadline = time.monotonic() + 10
    while len(hostile.processes()) != 4 or len(hostile.workers()) != 2:
        assert time.monotonic() < deadline, hostile.processes()
        time.sleep(0.02)


def table(n=3):
    return pa.table({"x": np.arange(n, dtype=float)})


def write(api, name, fit="pass", apply="return df", top=""):
    lines = [*top.splitlines(), "def init(df, param): return 0", "def fit(model, df, param):"]
    lines += [f"    {line}" for line in fit.splitlines()]
    lines += ["def apply(model, df, param):", *(f"    {line}" for line in apply.splitlines())]
    api.module(name, "\n".join(lines) + "\n")


def fit(api, name, timeout=60, **options):
    return api.frame("fit", table(), algo=name, model=name, timeout=timeout, **options)


def test_one_that_raises(hostile):
    write(hostile, "raises", fit="value = {}\nvalue['missing']")
    reply = fit(hostile, "raises")
    assert (reply.status, reply.json["code"]) == (422, "module-error")
    assert "'raises'" in reply.json["detail"]
    assert "KeyError" in reply.json["detail"]
    assert reply.json["details"]["function"] == "fit"
    assert reply.json["details"]["line"] == 4
    assert reply.json["remedy"]


def test_its_output_comes_with_the_error(hostile):
    write(hostile, "prints_then_raises", fit="print('so far')\n1 / 0")
    assert fit(hostile, "prints_then_raises").json["details"]["output"] == "so far\n"


def test_one_that_calls_sys_exit(hostile):
    write(hostile, "exits", fit="import sys\nsys.exit(3)")
    reply = fit(hostile, "exits")
    assert reply.json["code"] == "module-error"
    assert "sys.exit(3)" in reply.json["detail"]


def test_one_that_ends_its_process(hostile):
    write(hostile, "os_exits", fit="print('bye', flush=True)\nimport os\nos._exit(5)")
    reply = fit(hostile, "os_exits")
    assert (reply.status, reply.json["code"]) == (500, "module-crashed")
    assert "exited with status 5" in reply.json["detail"]
    assert reply.json["details"]["output"] == "bye\n"


def test_one_that_kills_its_process(hostile):
    write(hostile, "kills", fit="import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    reply = fit(hostile, "kills")
    assert reply.json["code"] == "module-crashed"
    assert "SIGKILL" in reply.json["detail"]


def test_one_that_segfaults(hostile):
    write(hostile, "segfaults", fit="import ctypes\nctypes.string_at(0)")
    reply = fit(hostile, "segfaults")
    assert reply.json["code"] == "module-crashed"
    assert "SIGSEGV" in reply.json["detail"]
    assert "segfaults.py, line 4" in reply.json["detail"]


@pytest.mark.parametrize(
    "loop", ["while True: pass", "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass"]
)
def test_one_that_loops(hostile, loop):
    write(hostile, "loops", fit=loop)
    begun = time.monotonic()
    reply = fit(hostile, "loops", limits={"max_fit_time": 0.5})
    assert time.monotonic() - begun < 0.5 + 2
    assert (reply.status, reply.json["code"]) == (504, "module-timeout")
    assert "loops.py, line" in reply.json["detail"]
    assert reply.json["details"]["setting"] == "LABDOCK_MAX_FIT_TIME"


def test_one_that_loops_while_it_is_imported(hostile):
    write(hostile, "loops_at_import", top="while True: pass")
    reply = fit(hostile, "loops_at_import", limits={"max_fit_time": 0.5})
    assert reply.json["code"] == "module-timeout"
    assert "line 1" in reply.json["detail"]


def test_one_that_ignores_every_signal_and_loops(hostile):
    top = "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass"
    write(hostile, "deaf", top=top, fit="while True: pass")
    begun = time.monotonic()
    assert fit(hostile, "deaf", limits={"max_fit_time": 0.5}).json["code"] == "module-timeout"
    assert time.monotonic() - begun < 0.5 + 2


def marked(mark):
    return [p for p in psutil.process_iter(["environ"]) if mark in ((p.info["environ"] or {}).get("LEFT", ""))]


@pytest.mark.parametrize(
    ("how", "mark"),
    [
        ("subprocess.Popen(['sleep', '300'], env=env)", "child"),
        ("subprocess.Popen(['sleep', '300'], env=env, start_new_session=True)", "session"),
        ("subprocess.Popen(['sh', '-c', 'setsid sleep 300 & exit 0'], env=env).wait()", "orphan"),
    ],
)
@pytest.mark.parametrize("end", ["", "os._exit(1)", "while True: pass"])
def test_one_that_leaves_processes_behind(hostile, how, mark, end):
    mark = f"{mark}-{os.getpid()}-{len(end)}"
    setup = f"import os, subprocess, sys\nenv = {{**os.environ, 'LEFT': '{mark}'}}\n{how}"
    write(hostile, "leaves", fit=f"{setup}\n{end}")
    fit(hostile, "leaves", limits={"max_fit_time": 1})
    deadline = time.monotonic() + 3
    while marked(mark):
        assert time.monotonic() < deadline, marked(mark)
        time.sleep(0.02)


def test_one_that_ends_its_worker_leaves_no_more_versions_than_others(hostile):
    write(hostile, "ends_worker", fit="import subprocess\nsubprocess.Popen(['sleep', '300'])")
    for number in range(1, 8):
        assert fit(hostile, "ends_worker").info["version"] == number
        kept = [p.name for p in (hostile.notebooks / "models" / "ends_worker").iterdir() if p.name.isdecimal()]
        assert sorted(kept) == [str(n) for n in range(max(1, number - 4), number + 1)]


def test_one_that_forks_itself(hostile):
    write(hostile, "forks", fit="import os, time\nfor _ in range(20):\n    if os.fork() == 0: time.sleep(300)")
    assert fit(hostile, "forks").status == 200


@pytest.mark.slow
def test_one_that_prints_a_gigabyte(hostile):
    write(hostile, "prints", fit="line = 'x' * 9999\nfor _ in range(100_000): print(line)\nprint('the end')")
    before = psutil.Process(hostile.process.pid).memory_info().rss
    reply = fit(hostile, "prints")
    output = reply.info["output"]
    assert len(output) < 70_000
    assert output.startswith("xxxx")
    assert output.endswith("the end\n")
    assert "bytes left out" in output
    assert psutil.Process(hostile.process.pid).memory_info().rss - before < 20 << 20


def test_what_child_processes_print_is_captured(hostile):
    write(hostile, "child_prints", fit="import subprocess\nsubprocess.run(['echo', 'from a child'])")
    assert fit(hostile, "child_prints").info["output"] == "from a child\n"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("numpy", "import numpy as np\nkeep = []\nwhile True: keep.append(np.ones(4_000_000))"),
        ("python", "keep = []\nwhile True: keep.append(bytearray(1 << 20))"),
        (
            "arrow",
            "import pyarrow as pa\nkeep = []\nwhile True: keep.append(pa.nulls(10**6, pa.float64()).fill_null(1))",
        ),
        ("once", "import numpy as np\nnp.ones(10_000_000_000)"),
    ],
)
def test_one_that_allocates_without_end(hostile, name, code):
    write(hostile, f"allocates_{name}", fit=code)
    reply = fit(hostile, f"allocates_{name}")
    assert (reply.status, reply.json["code"]) == (507, "module-out-of-memory")
    assert "LABDOCK_WORKER_MEMORY_MB" in reply.json["remedy"]


@pytest.mark.slow
def test_one_whose_children_allocate(hostile):
    child = (
        "import time; keep = [bytearray(300 << 20) for _ in range(1)]; keep[0][::4096] = b'x' * len(keep[0][::4096])"
    )
    code = f"import subprocess, sys, time\nchild = {child + '; time.sleep(300)'!r}\n"
    code += "for _ in range(5): subprocess.Popen([sys.executable, '-c', child])\ntime.sleep(300)"
    write(hostile, "children_allocate", fit=code)
    reply = fit(hostile, "children_allocate")
    assert reply.json["code"] == "module-out-of-memory"
    assert "its processes used" in reply.json["detail"]


def test_a_limit_is_not_reached_by_what_fits(hostile):
    """600 MB are allowed; 400 MB of arrays pass, again and again, in the same worker."""
    write(hostile, "large", fit="import numpy as np\nx = np.ones(50_000_000)\nassert x.sum() == 50_000_000")
    for _ in range(4):
        assert fit(hostile, "large").status == 200


def test_one_that_changes_its_input(hostile):
    write(
        hostile,
        "changes",
        fit="df['x'] = -1.0\ndf.loc[0, 'x'] = 99.0",
        apply="df['x'] += 1\ndf.iloc[0, 0] = 50.0\ndf['new'] = 1\nreturn df",
    )
    expected = {"x": [50.0, 2.0, 3.0], "new": [1, 1, 1]}
    assert fit(hostile, "changes").table.to_pydict() == expected
    for _ in range(3):
        assert hostile.frame("apply", table(), model="changes").table.to_pydict() == expected


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        ("None", "None"),
        ("'text'", "a str"),
        ("5", "an int"),
        ("object()", "an object"),
        ("lambda: 0", "a function"),
        ("{'a': 1}", "a dict"),
        ("{'a': [1], 'b': [1, 2]}", "a dict"),
        ("__import__('numpy').ones((2, 2, 2))", "an array of 3 dimensions"),
        ("__import__('pandas').DataFrame([[1, 2]], columns=['a', 'a'])", "Duplicate column names: 'a'"),
        ("__import__('pandas').DataFrame({'a': [1, 'x', object()]})", "'a'"),
        ("__import__('pandas').DataFrame({'': [1]})", "empty name"),
        ("[[1, 2], [3]]", "a list"),
        ("(x for x in [1])", "a generator"),
    ],
)
def test_nonsense_is_named(hostile, returned, named):
    write(hostile, "nonsense", apply=f"return {returned}")
    reply = fit(hostile, "nonsense")
    assert (reply.status, reply.json["code"]) == (422, "module-error"), reply.json
    assert named in reply.json["detail"]
    assert reply.json["remedy"]
    assert hostile.request("GET", "/v1/models/nonsense").status == 404, "a fit whose apply fails makes no model"


@pytest.mark.parametrize("info", ["float('nan')", "lambda: 0", "{1: {2: {3}}}", "b'x'", "x", "'\\ud800'"])
def test_strange_infos_are_json_all_the_same(hostile, info):
    write(hostile, "infos", fit=f"x = []\nx.append(x)\nreturn {{'info': {info}}}")
    assert "info" in fit(hostile, "infos").info["info"]


def test_a_model_that_cannot_be_pickled(hostile):
    hostile.module(
        "unpicklable",
        """
        def init(df, param): return lambda: 0
        def fit(model, df, param): pass
        def apply(model, df, param): return df
        """,
    )
    reply = fit(hostile, "unpicklable")
    assert reply.json["code"] == "module-error"
    assert "save(model, name)" in reply.json["remedy"]


def test_one_that_damages_its_worker_for_others(hostile):
    """Whatever it does to its process, the next request is answered rightly."""
    code = (
        "import os, sys, builtins\nos.chdir('/')\nsys.stdout.close()\nos.close(1)\nsys.path.clear()\nos.environ.clear()"
    )
    write(hostile, "vandal", fit=code)
    for _ in range(4):
        fit(hostile, "vandal")
        assert fit(hostile, "good").table["rows"].to_pylist() == [3, 3, 3]


def test_one_that_writes_to_every_descriptor(hostile):
    code = "import os\nfor fd in range(3, 200):\n    try: os.write(fd, b'\\xff' * 64)\n    except OSError: pass"
    write(hostile, "scribbles", fit=code)
    reply = fit(hostile, "scribbles")
    assert reply.status == 500 or reply.json["code"] == "module-crashed"
    assert reply.json["code"] == "module-crashed"


def test_one_that_kills_the_nursery(hostile):
    write(hostile, "patricide", fit="import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nwhile True: pass")
    assert fit(hostile, "patricide").json["code"] == "module-crashed"


def test_a_worker_killed_from_outside(hostile):
    write(
        hostile,
        "waits",
        fit="import pathlib, os, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)",
    )
    pid_file = hostile.notebooks / "pid"
    reply = hostile.frame("fit", table(), algo="waits", model="waits", headers={"Prefer": "respond-async"})
    job = reply.json["id"]
    deadline = time.monotonic() + 10
    while not pid_file.exists() or not pid_file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    result = hostile.request("GET", f"/v1/jobs/{job}/result")
    assert result.json["code"] == "module-crashed"
    assert json.loads(result.body)["details"]["status"] == -9


def test_health_answers_at_once_while_modules_train(hostile):
    write(hostile, "burns", fit="import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass")
    jobs = [
        hostile.frame("fit", table(), algo="burns", model=f"burns{i}", headers={"Prefer": "respond-async"}).json["id"]
        for i in range(2)
    ]
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        assert hostile.request("GET", "/health").status == 200
        times.append(time.perf_counter() - begun)
    assert sorted(times)[25] < 0.05
    assert hostile.frame("apply", table(), model="good").status == 200, "an apply does not wait for the fits"
    assert {hostile.request("GET", f"/v1/jobs/{job}").json["status"] for job in jobs} == {"running"}
    for job in jobs:
        assert hostile.request("GET", f"/v1/jobs/{job}/result").status == 200


def test_warm_models_do_not_use_up_the_limit(hostile):
    """Eight models of 150 MB in workers that may use 600 MB: none is refused for what the others hold."""
    hostile.module(
        "heavy",
        """
        import numpy as np
        def init(df, param): return {}
        def fit(model, df, param): model["w"] = np.ones(19_000_000)
        def apply(model, df, param): return {"n": [model["w"].sum()] * len(df)}
        """,
    )
    for n in range(8):
        assert hostile.frame("fit", table(), algo="heavy", model=f"heavy{n}").status == 200
    for n in range(8):
        assert hostile.frame("apply", table(), model=f"heavy{n}").table["n"].to_pylist() == [19e6] * 3
        hostile.request("DELETE", f"/v1/models/heavy{n}")


def test_one_that_leaves_something_printing_for_ever(hostile):
    write(hostile, "yes", fit="import subprocess\nsubprocess.Popen(['yes', 'y' * 1000])", apply="return df")
    assert fit(hostile, "yes").status == 200
    assert hostile.request("GET", "/health").status == 200


def test_what_an_ended_fit_left_is_removed_by_the_next(hostile):
    """A worker killed while its model is saved leaves a folder; the next fit of that model takes it away."""
    hostile.module(
        "slow_to_save",
        """
        import time
        class Model:
            def __getstate__(self): time.sleep(60)
        def init(df, param): return Model()
        def fit(model, df, param): pass
        def apply(model, df, param): return df
        """,
    )
    folder = hostile.notebooks / "models" / "saved"
    reply = hostile.frame("fit", table(), algo="slow_to_save", model="saved", limits={"max_fit_time": 0.5})
    assert reply.json["code"] == "module-timeout"
    (left,) = [p.name for p in folder.iterdir() if p.name.endswith(".pending")]
    # The answer may be here before the kernel is done with the worker; its number is in the name.
    writer = Path("/proc", str(int(left.split(".")[2][:8], 16)))
    wait_for(lambda: not writer.exists(), what="the worker's end")
    assert hostile.frame("fit", table(), algo="good", model="saved").info["version"] == 1
    assert sorted(p.name for p in folder.iterdir()) == ["1", "newest"]
