"""The public door: complete, sorted, quick, and without what only servers need."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import labdock
from labdock import errors

CLIENT = Path(labdock.__file__).parent


def test_what_is_exported_is_sorted_and_there() -> None:
    assert labdock.__all__ == sorted(labdock.__all__)
    assert len(set(labdock.__all__)) == len(labdock.__all__)
    for name in labdock.__all__:
        assert getattr(labdock, name) is not None
    assert set(labdock.__all__) <= set(dir(labdock))


def test_every_error_and_every_class_that_a_caller_meets_is_exported() -> None:
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__:
            assert name in labdock.__all__
    for module in ("environment", "environments", "events", "jobs", "lab", "models"):
        tree = ast.parse((CLIENT / f"{module}.py").read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert node.name in labdock.__all__, f"{module}.{node.name}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(labdock, "conect")


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_importing_it_costs_next_to_nothing() -> None:
    program = "import time; t = time.perf_counter(); import labdock; print(time.perf_counter() - t)"
    assert min(float(run(program)) for _ in range(3)) < 0.3


def test_neither_import_nor_connect_brings_in_what_servers_or_frames_need() -> None:
    heavy = (
        "{'pandas','numpy','pyarrow','fastapi','uvicorn','starlette','sqlalchemy','aiohttp','docker','sklearn','rich'}"
    )
    program = (
        "import sys, labdock\n"
        "try: labdock.connect('http://127.0.0.1:9', 'x')\n"
        "except labdock.TransportError: pass\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    assert run(program) == "[]"


def test_the_whole_library_needs_no_server_library() -> None:
    program = (
        "import sys, labdock\n"
        "for name in labdock.__all__: getattr(labdock, name)\n"
        "import labdock.actions, labdock.files, labdock.frames\n"
        "servers = {'fastapi', 'uvicorn', 'starlette', 'sqlalchemy', 'aiohttp', 'docker', 'kubernetes'}\n"
        "print(sorted(servers & set(sys.modules)))"
    )
    assert run(program) == "[]"


def test_the_estimator_works_without_scikit_learn() -> None:
    program = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "import labdock\n"
        "model = labdock.NotebookModel('means', params={'scale': 2})\n"
        "model.set_params(algo='linear', params__scale=3)\n"
        "print(model.get_params()['params__scale'], model.algo)\n"
        "try: model.predict([[1]])\n"
        "except labdock.InvalidOptions as error: print(error.remedy)"
    )
    assert run(program).splitlines() == ["3 linear", "Call fit first."]
