"""Runs the checks of uploaded models on every file of a folder, one after the other: `python checking.py FOLDER`.

The same code as the throwaway process, without a start for each. Each file may have as much memory as there, beyond
what earlier ones did not give back. Whoever started it learns from the last line which file it died of.
"""

import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

from labdock_search.onnx import check_process
from labdock_search.onnx.scan import Refusal
from labdock_search.onnx.schema import ModelLimits


def main(folder: Path) -> None:
    limits = ModelLimits()
    check_process.ort.set_default_logger_severity(4)
    check_process.limit_process(replace(limits, max_check_seconds=600, max_memory_mb=4096), 20_000_000)
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        allowed = min(most, check_process.memory_limit(limits, len(content)))
        resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
        print(json.dumps({"file": path.name}), flush=True)
        begun = time.process_time()
        try:
            outcome = {"schema": check_process.run(content, limits, []).to_dict()}
        except Refusal as refusal:
            outcome = {"check": refusal.check, "found": refusal.found, "remedy": refusal.remedy}
        except MemoryError:
            outcome = {"check": "memory", "found": "too much memory", "remedy": "-"}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({**outcome, "seconds": time.process_time() - begun, "peak": peak}), flush=True)
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
