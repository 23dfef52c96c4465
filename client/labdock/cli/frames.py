"""`labdock stage | fit | apply`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from labdock.cli import options
from labdock.cli.output import note, plural, say, show_json, show_pairs, show_table, style
from labdock.fitted_model import FittedModel

if TYPE_CHECKING:
    import pyarrow as pa

Into = Annotated[str, typer.Option("--into", help="The model's name; app:name shares it.")]
Algo = Annotated[
    str, typer.Option("--algo", help="The module, by its notebook's name.", autocompletion=options.complete_module)
]
HEAD = 10


def stage(
    file: options.File,
    into: Into = "default",
    algo: Algo = "",
    fields: options.Fields = None,
    target: options.Target = None,
    param: options.Param = None,
    env: options.Env = None,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Put a table into an environment's notebooks folder.

    Example: labdock stage events.parquet --into app:hunt --algo a_threat_hunting_notebook --fields _time,host,count
    """
    with options.lab(progress) as lab:
        environment = options.pick(lab, env)
        staged = environment.stage(
            file,
            into=into,
            algo=algo,
            features=options.fields(fields),
            target=options.fields(target),
            params=options.params(param),
        )
        if as_json:
            answer = {"model": staged.model, "rows": staged.rows, "files": staged.files}
            show_json({"environment": environment.name, **answer})
            return
        say(f"Staged {plural(staged.rows, 'row')} in {environment.name}:")
        for name in staged.files:
            say(f"  {name}")


def fit(
    file: options.File,
    algo: Algo,
    into: Into = "default",
    fields: options.Fields = None,
    target: options.Target = None,
    param: options.Param = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Write what the model says of the rows to this file.")
    ] = None,
    env: options.Env = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end; otherwise print the job.")] = True,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Train a notebook module on a table and keep the model.

    Example: labdock fit events.parquet --algo a_threat_hunting_notebook --into app:hunt --fields 'V*,count'
    """
    with options.lab(progress) as lab:
        environment = options.pick(lab, env)
        answer = environment.fit(
            _input(file),
            algo=algo,
            features=options.fields(fields),
            target=options.fields(target),
            into=into,
            params=options.params(param),
            wait=wait,
        )
        if not isinstance(answer, FittedModel):
            _show_job(answer.record, as_json=as_json)
            return
        if out:
            _write(answer.predictions, out)
        if as_json:
            show_json({"environment": environment.name, **answer.answer, **({"out": out} if out else {})})
        else:
            _show_fit(answer, out)


def apply(
    model: Annotated[str, typer.Argument(help="The model: name or app:name.", autocompletion=options.complete_model)],
    file: options.File,
    out: Annotated[
        str | None, typer.Option("--out", help="Write rows and answer to this file, by its suffix; - prints CSV.")
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="The answer alone, without the rows it is about.")] = False,
    param: options.Param = None,
    env: options.Env = None,
    as_json: options.AsJson = False,
    progress: options.Progress = None,
) -> None:
    """Say what a model thinks of a table's rows.

    Example: labdock apply app:hunt events.parquet --out scored.parquet
    """
    with options.lab(progress) as lab:
        found = None if env else lab.models.get(model)
        environment = found.environment if found else options.pick(lab, env)
        rows = _input(file)
        answer = environment.apply(rows, found or model, params=options.params(param))
        table = answer if only else beside(rows, answer)
        if out:
            _write(table, out)
        if as_json:
            shown = {"out": out} if out else {"records": records(table)}
            show_json({"environment": environment.name, "model": model, "rows": table.num_rows, **shown})
        elif out and out != "-":
            note(f"{plural(table.num_rows, 'row')} in {out}.")
        elif not out:
            _show_head(table)


def beside(rows: "pa.Table", answer: "pa.Table") -> "pa.Table":
    """The answer's columns beside the rows that they are about; an answer of another length stays alone."""
    if rows.num_rows != answer.num_rows:
        return answer
    for name in answer.column_names:
        at = rows.column_names.index(name) if name in rows.column_names else -1
        column = answer.column(name)
        rows = rows.append_column(name, column) if at < 0 else rows.set_column(at, name, column)
    return rows


def records(table: "pa.Table") -> list[dict[str, Any]]:
    """Rows as JSON values."""
    import json  # noqa: PLC0415 - with the next one, at use: --help shall not wait for pyarrow

    from labdock.files import to_text  # noqa: PLC0415

    return [json.loads(line) for line in to_text(table)]


def _input(file: str) -> "pa.Table":
    from labdock.files import read_table  # noqa: PLC0415 - needs pyarrow
    from labdock.frames import check_columns  # noqa: PLC0415

    table = read_table(file)
    check_columns(table.column_names)
    return table


def _write(table: "pa.Table", out: str) -> None:
    from labdock import files  # noqa: PLC0415

    if out == "-":
        files.print_csv(table)
    else:
        files.write_table(table, out)


def _show_fit(model: FittedModel, out: str | None) -> None:
    rows = plural(int(model.answer.get("rows") or 0), "row")
    version = model.version.get("version")
    say(f"Fitted {style('1', str(model.reference))} version {version} on {rows} in {model.duration:.2g} s.")
    show_pairs(model.metrics)
    for warning in model.warnings:
        note(f"Warning: {warning}")
    if model.output.strip():
        note(style("2", model.output.rstrip()))
    if out and out != "-":
        note(f"{plural(model.predictions.num_rows, 'row')} in {out}.")
    elif not out:
        _show_head(model.predictions)


def _show_head(table: "pa.Table") -> None:
    shown = records(table.slice(0, HEAD))
    show_table(shown, {name: name for name in table.column_names}, empty="No rows.")
    if table.num_rows > HEAD:
        note(f"… {plural(table.num_rows, 'row')} in all; --out FILE keeps them.")


def _show_job(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(record)
    else:
        say(str(record["id"]))
        note(f"It is working. Follow it: labdock jobs {record['id']} --follow")
