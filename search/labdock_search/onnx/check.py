"""Decides whether an uploaded file may be kept as a model, in a throwaway process with limits."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labdock.errors import ModelRefused
from labdock_search.onnx.schema import ModelLimits, ModelSchema

MOST_SAID = 16 << 20  # bytes; the schema of a model with thousands of inputs has one or two million
GRACE = 2.0  # seconds between the last word and the end


def check_model(path: Path, features: Sequence[str] = (), limits: ModelLimits | None = None) -> ModelSchema:
    """The schema of the ONNX model in `path`; blocks for about half a second.

    `features` are the names given at upload, in order; empty takes those that the file gives. The file is parsed,
    loaded and tried with one row in a process of its own, whatever happens there; nothing of it is loaded here.
    Raises `ModelRefused` whose details name the `check`, with what was `found`.
    """
    limits = limits or ModelLimits()
    size = path.stat().st_size
    if size > limits.max_model_size_mb * 2**20:
        raise refused(
            "size",
            f"the file has {size / 2**20:.1f} MB; at most {limits.max_model_size_mb:g} MB are allowed",
            "Upload a smaller model, or raise max_model_size_mb in the model settings.",
        )
    schema = _run(path, list(features), limits)
    names = list(features) or schema.features
    if names and len(names) != schema.width:
        raise refused(
            "features",
            f"the model takes {schema.width} feature columns and {len(names)} are named",
            f"Name {schema.width}, in the model's order.",
        )
    return schema


def refused(check: str, found: str, remedy: str) -> ModelRefused:
    return ModelRefused(
        f"The model was refused by the check of its {check}: {found}.", remedy=remedy, check=check, found=found
    )


def _run(path: Path, features: list[str], limits: ModelLimits) -> ModelSchema:
    request = json.dumps({"limits": asdict(limits), "features": features})
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with tempfile.TemporaryDirectory(prefix="labdock-check-") as folder, os.fdopen(descriptor, "rb") as file:
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-m", "labdock_search.onnx.check_process", request],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder},
            start_new_session=True,
        )
        with process:
            try:
                output = _said(process, limits.max_check_seconds)
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise refused(
                    "time", f"it takes more than {limits.max_check_seconds:g} s", "Upload a smaller model."
                ) from None
    return _read(output, process.returncode)


def _said(process: "subprocess.Popen[bytes]", seconds: float) -> bytes:
    """What the process prints until its end, or as much as is read of one that a file took over.

    Raises `TimeoutExpired`.
    """
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    said, deadline = bytearray(), time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(said) < MOST_SAID:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise subprocess.TimeoutExpired(process.args, seconds)
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                return bytes(said)
            said += piece
    os.killpg(process.pid, signal.SIGKILL)
    return b""


def _read(output: bytes, code: int) -> ModelSchema:
    lines: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    last = lines[-1] if lines else {}
    if "schema" in last:
        return ModelSchema.from_dict(last["schema"])
    if "refusal" in last:
        raise refused(**last["refusal"])
    check = str(last.get("check", "start"))
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    raise refused(
        check, f"the process that read it died there ({how})", "The file is damaged or hostile; export it again."
    )
