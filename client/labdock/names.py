"""What may be called what, and which known name was probably meant."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from labdock.errors import InvalidName, NotFound

# One rule for environments, modules, models, lookups, indexes and apps. Names never become paths on disk in the
# controller (ids do), but they do in an environment's own folders, so nothing that means something to a file
# system, a shell or a URL is allowed. `__dev__` is the lab's name, hence the leading underscore.
NAME_LENGTH = 64
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)


def check_name(name: str, kind: str) -> str:
    """`name` itself, or `InvalidName` that says what is wrong with it. `kind` is the noun for the message."""
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    if not isinstance(name, str) or not name:
        found = "it is empty"
    elif len(name) > NAME_LENGTH:
        found = f"it has {len(name)} characters"
    else:
        bad = next((c for c in name if not re.match(r"[A-Za-z0-9_-]", c, re.ASCII)), name[0])
        found = f"{bad!a} (U+{ord(bad):04X}) is not allowed" if bad != name[0] else f"it starts with {bad!a}"
    shown = ascii(name if isinstance(name, str) else str(name))
    shown = shown if len(shown) <= 80 else shown[:77] + "…"
    raise InvalidName(
        f"{shown} is not a name for a {kind}: {found}.",
        remedy=f"Use 1 to {NAME_LENGTH} of the characters A-Z a-z 0-9 _ - and begin with a letter, digit or _.",
        kind=kind,
        name=name,
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, case aside, or None."""
    by_fold = {k.casefold(): k for k in known}
    match = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[match[0]] if match else None


def not_found(kind: str, name: str, known: Iterable[str], remedy: str = "") -> NotFound:
    """The `NotFound` every room raises: it names the nearest known name, or lists what there is."""
    choices = sorted(known)
    best = nearest(name, choices)
    if best:
        hint = f"Did you mean {best!r}?"
    elif choices:
        shown = ", ".join(choices[:10]) + (", …" if len(choices) > 10 else "")
        hint = f"There is: {shown}."
    else:
        hint = f"There is no {kind} yet."
    return NotFound(
        f"There is no {kind} named {name!r}.",
        remedy=f"{hint} {remedy}".strip(),
        kind=kind,
        name=name,
        nearest=best,
    )


def check_alias(alias: str) -> str:
    """`alias` itself, or `InvalidName`: a name like any other that is no number, since `m@3` is the third version."""
    check_name(alias, "alias")
    if alias.isdecimal():
        raise InvalidName(
            f"{alias} is not a name for an alias: it is a number.",
            remedy="Take a word, such as champion.",
            kind="alias",
            name=alias,
        )
    return alias


@dataclass(frozen=True)
class ModelRef:
    """A model as a search or a client writes it: `m`, `app:m`, `onnx:m`, `app:onnx:m`; `@3` or `@champion` behind."""

    name: str
    kind: str = "module"  # or "onnx"
    shared: bool = False  # `app:` forces what is shared
    version: str = ""  # a number or an alias; empty: the version in use

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Parse a reference; the name is checked. Raises `InvalidName`."""
        rest = text
        shared = rest.startswith("app:")
        rest = rest.removeprefix("app:")
        kind = "onnx" if rest.startswith("onnx:") else "module"
        rest = rest.removeprefix("onnx:")
        name, at, version = rest.partition("@")
        check_name(name, "model")
        if at and not (version.isdecimal() and version.isascii() and len(version) < 10):
            check_alias(version)
        return cls(name, kind, shared, version.lstrip("0") or version)

    def __str__(self) -> str:
        at = f"@{self.version}" if self.version else ""
        return ("app:" if self.shared else "") + ("onnx:" if self.kind == "onnx" else "") + self.name + at
