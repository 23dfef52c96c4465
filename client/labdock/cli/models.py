"""`labdock models`: what was fitted or uploaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from labdock.cli import options
from labdock.cli.output import note, say, show_json, show_pairs, show_table
from labdock.errors import InvalidOptions
from labdock.models import Model
from labdock.names import ModelRef

COLUMNS = {
    "reference": "MODEL",
    "kind": "KIND",
    "versions": "VERSIONS",
    "environment": "ENVIRONMENT",
    "owner": "OWNER",
    "module": "MODULE",
    "rows": "ROWS",
    "metrics": "METRICS",
}


ACTIONS = ("list", "show", "upload", "versions", "rollback", "alias", "share", "card", "download", "delete")


def models(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ACTION] [MODEL] [VALUE]",
            help=f"{', '.join(ACTIONS)}; one model: name, app:name, onnx:name; @version behind.",
            autocompletion=options.complete_model,
        ),
    ] = None,
    upload: Annotated[
        str | None, typer.Option("--upload", help="An ONNX file to keep as a version of the model.")
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="Its features in order; by default the file's.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="What it predicts.")] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Makes its score the label 0 or 1.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="What the model is about.")] = None,
    card: Annotated[str | None, typer.Option("--card", help="A Markdown file, kept as the model card.")] = None,
    share: Annotated[str | None, typer.Option("--share", help="user, app or global.")] = None,
    use: Annotated[int | None, typer.Option("--use", help="Put this version to work (rollback).")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="With alias: take it away.")] = False,
    download: Annotated[str | None, typer.Option("--download", help="Write its ONNX file there.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the model with all its versions.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the models; show, upload, alias, share, roll back, download or remove one.

    Example: labdock models alias onnx:credit_card_fraud champion 3
    """
    action, name, value = _words(words or [])
    if action == "upload":
        upload, name = name, value or Path(name).stem
    with options.lab() as lab:
        if action == "list":
            found = lab.models.list()
            if as_json:
                show_json([m.record for m in found])
            else:
                show_table(map(_row, found), COLUMNS, empty="There is no model yet. Make one: labdock fit")
            return
        if upload:
            one = lab.models.upload(
                upload,
                ModelRef.parse(name).name if ":" in name else name,
                target=target or "",
                features=options.fields(features),
                threshold=threshold,
                sharing=share or "",
                description=description or "",
                card=Path(card) if card else "",
            )
            for notice in one.notices:
                note(notice)
            show_json(one.record) if as_json else say(f"{one.reference} has version {one.version.get('version')}.")
            return
        one = lab.models.get(name)
        if card or description is not None:
            one.write_card(Path(card)) if card else None
            one.describe(description) if description is not None else None
        _change(one, action, value, share=share, use=use, remove=remove, download=download)
        if action == "delete" or delete:
            one.delete()
            show_json({"name": one.name, "removed": True}) if as_json else say(f"{one.reference} is removed.")
        elif action == "card" and not card:
            show_json({"name": one.name, "card": one.card()}) if as_json else say(one.card().rstrip())
        elif as_json:
            show_json(one.record)
        elif action == "versions":
            show_table(_versions(one), VERSION_COLUMNS, empty="It has no version.")
        else:
            _show(one)


def _words(words: list[str]) -> tuple[str, str, str]:
    """Action, model and value. Raises `InvalidOptions`."""
    if not words:
        return "list", "", ""
    action, rest = (words[0], words[1:]) if words[0] in ACTIONS else ("show", words)
    most = 3 if action == "alias" else 2 if action in ("upload", "rollback", "share", "download") else 1
    least = 0 if action == "list" else 1
    if action == "list":
        most = 0
    if not least <= len(rest) <= most:
        raise InvalidOptions(
            f"labdock models {action} takes {least or 'no'} to {most} words, not {len(rest)}.",
            remedy="Write for example: labdock models alias onnx:m champion 3",
        )
    return action, rest[0] if rest else "", " ".join(rest[1:])


def _change(
    one: Model, action: str, value: str, *, share: str | None, use: int | None, remove: bool, download: str | None
) -> None:
    if action == "share" or share:
        one.share(value if action == "share" else share or "user")
    if action == "rollback":
        one.use(_earlier(one, value))
    elif use is not None:
        one.use(use)
    if action == "alias":
        alias, _, version = value.partition(" ")
        if not alias:
            raise InvalidOptions("The alias has no name.", remedy="labdock models alias onnx:m champion 3")
        one.remove_alias(alias) if remove else one.alias(alias, version or None)
    if action == "download" or download:
        one.download(download or value or f"{one.name}.onnx")


def _earlier(one: Model, value: str) -> int:
    """The version to go back to: the one named, else the one before that in use. Raises `InvalidOptions`."""
    if value.isdecimal():
        return int(value)
    if value:
        return one.aliases.get(value, -1)
    used = one.record.get("current_version") or 0
    before = [v["version"] for v in one.versions if v["version"] < used]
    if not before:
        raise InvalidOptions(f"{one.reference} has no version before {used}.", remedy="See: labdock models versions …")
    return int(max(before))


VERSION_COLUMNS = {"version": "VERSION", "used": "IN USE", "aliases": "ALIASES", "rows": "ROWS", "metrics": "METRICS"}


def _versions(one: Model) -> Iterator[dict[str, object]]:
    for version in one.versions:
        number = version.get("version")
        named = ", ".join(alias for alias, v in one.aliases.items() if v == number)
        yield {**version, "used": "yes" if number == one.record.get("current_version") else "", "aliases": named}


def _row(model: Model) -> dict[str, object]:
    newest = model.version
    return {
        **model.record,
        "reference": str(model.reference),
        "versions": len(model.versions),
        "module": newest.get("module"),
        "rows": newest.get("rows"),
        "metrics": model.metrics,
    }


def _show(model: Model) -> None:
    say(str(model.reference))
    show_pairs({k: v for k, v in model.record.items() if k not in ("name", "versions")})
    for version in model.versions:
        say(f"version {version.get('version')}")
        params = {k: v for k, v in (version.get("params") or {}).items() if k != "schema"}
        show_pairs({**{k: v for k, v in version.items() if k != "version"}, "params": params})
