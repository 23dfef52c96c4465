"""`labdock modules`: what can be fitted."""

from labdock.cli import options
from labdock.cli.output import show_json, show_table

COLUMNS = {"name": "MODULE", "functions": "FUNCTIONS", "notebook": "NOTEBOOK", "findings": "FINDINGS", "doc": "ABOUT"}


def modules(env: options.Env = None, as_json: options.AsJson = False) -> None:
    """List the notebook modules of an environment.

    Example: labdock modules
    """
    with options.lab() as lab:
        found = options.pick(lab, env).modules()
        if as_json:
            show_json(found)
            return
        rows = [{**m, "doc": str(m.get("doc") or "").strip().partition("\n")[0]} for m in found]
        for row in rows:
            row["findings"] = [_finding(f) for f in row.get("findings") or []]
        show_table(rows, COLUMNS, empty="There is no module yet. Save a notebook in JupyterLab: labdock open")


def _finding(value: object) -> str:
    return str(value.get("message", value)) if isinstance(value, dict) else str(value)
