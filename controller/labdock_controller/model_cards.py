"""Model cards: what a person must know before using a model. One that nobody wrote is generated from the record."""

import time
from typing import Any

from labdock_controller.model_rows import Model, Version

SIZE = 262_144  # characters
TO_WRITE = "*Not written yet.*"


def skeleton(model: Model, version: Version) -> str:
    """A card of what the record knows, with the headings that a person should fill."""
    reference = f"{'onnx:' if model.kind == 'onnx' else ''}{model.name}"
    target = ", ".join(version.target) or "nothing named"
    parts = [
        f"# {model.name}, version {version.version}",
        model.description or TO_WRITE,
        f"Use it: `| apply {reference}`. It predicts {target}.",
        "## Intended use\n\n" + TO_WRITE,
        "## Features\n\n" + (", ".join(f"`{name}`" for name in version.features) or TO_WRITE),
        "## Quality\n\n" + (_table(version.metrics) or TO_WRITE),
        "## Limits\n\n" + TO_WRITE,
        "## Where it comes from\n\n" + _table(_origin(model, version)),
    ]
    return "\n\n".join(parts) + "\n"


def _origin(model: Model, version: Version) -> dict[str, Any]:
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(version.created))
    known = {"made": made, "owner": model.owner, "rows": version.rows, **version.lineage}
    if version.params.get("threshold") is not None:
        known["threshold"] = version.params["threshold"]
    known["file" if model.kind == "onnx" else "module"] = version.module_sha256
    return {key: value for key, value in known.items() if value not in (None, "", {})}


def _table(values: dict[str, Any]) -> str:
    """A Markdown table; a nested mapping becomes one cell."""
    if not values:
        return ""
    rows = []
    for key, value in values.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        rows.append(f"| {_cell(key)} | {_cell(shown)} |")
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())
