"""The lab's models against their floors, trained anew on the recorded data by the shipped notebooks.

`python -m benchmarks models`. Needs the recorded data (`../shared/data`, or the folder that LABDOCK_LAB_DATA names) and
an engine with golden-cpu (`bash images/build.sh golden-cpu`); five minutes on two idle cores. The thresholds are fixed
in the notebooks before their test parts are opened.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.report import Report

REPOSITORY = Path(__file__).parent.parent
DATA = Path(os.environ.get("LABDOCK_LAB_DATA", REPOSITORY.parent / "shared" / "data"))
IMAGE = "labdock/golden-cpu"
# notebook -> the file of its figures, and what each figure is bound by
FLOORS: dict[str, tuple[str, dict[str, str]]] = {
    "a_MLTK_ONNX_Workshop": (
        "credit_card_fraud",
        {
            "recall": ">= 0.80",
            "false_positive_rate": "<= 0.007",
            "average_precision": ">= 0.78",
            "difference": "<= 0.00001",
        },
    ),
    "a_botnet_model": (
        "my_botnet",
        {
            "precision": ">= 0.90",
            "recall": ">= 0.90",
            "capture_recall": ">= 0.70",
            "false_positives": "<= 0.07",
        },
    ),
    "a_network_analysis": (
        "network_outliers",
        {"roc_auc": ">= 0.93", "labels_agree": ">= 0.9999", "difference": "<= 0.00001"},
    ),
}


def run() -> int:
    """Execute each notebook in the image on the recorded data; gives the exit code."""
    if not (DATA / "creditcard.parquet").is_file():
        print(f"There is no recorded data in {DATA}: set LABDOCK_LAB_DATA.")
        return 1
    report = Report()
    for notebook, (name, bounds) in FLOORS.items():
        found = figures(notebook, name)
        report.title(notebook)
        for figure, bound in bounds.items():
            report.line(figure, found[figure], None, found[figure], bound, "")
    return report.end()


def figures(notebook: str, name: str) -> dict[str, float]:
    """What the notebook measured; its folder is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="labdock-models-"))
    try:
        shutil.copytree(REPOSITORY / "notebooks", folder, dirs_exist_ok=True)
        volumes = ["--volume", f"{folder}:/notebooks", "--volume", f"{DATA.resolve()}:/lab:ro"]
        settings = [
            part
            for setting in (
                "LABDOCK_LAB_DATA=/lab",
                "OMP_NUM_THREADS=2",
                "HOME=/tmp",
                "MPLCONFIGDIR=/tmp",
                "NUMBA_CACHE_DIR=/tmp",
            )
            for part in ("--env", setting)
        ]
        user = ["--user", f"{os.getuid()}:{os.getgid()}", "--network", "none"]
        execute = ["nbconvert", "--to", "notebook", "--execute", "--inplace", f"{notebook}.ipynb"]
        command = ["docker", "run", "--rm", *user, *volumes, *settings, "--entrypoint", "jupyter", IMAGE, *execute]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise SystemExit(f"{notebook} failed:\n{ended.stderr[-3000:]}")
        return dict(json.loads((folder / "data" / f"{name}.figures.json").read_text()))
    finally:
        shutil.rmtree(folder)
