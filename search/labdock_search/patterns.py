"""Regular expressions and JSON paths as users write them, for DuckDB."""

import functools
import re
from typing import Any

import duckdb

from labdock_search.faults import Span, fault, shown

NAMED = re.compile(r"(\\.)|\(\?<([A-Za-z_]\w*)>", re.DOTALL)
STEP = re.compile(r"([^.{}]+)|\{(\d*)\}|\.")
MAX_PATTERN = 4000


def to_re2(pattern: str, span: Span, plan: Any = None) -> str:  # noqa: ARG001 - same shape as other checks
    """A pattern for RE2, which takes linear time; refused with the reason where RE2 does not know it."""
    if len(pattern) > MAX_PATTERN:
        raise fault(f"The regular expression is longer than {MAX_PATTERN} characters", span)
    translated = NAMED.sub(lambda m: m.group(1) or f"(?P<{m.group(2)}>", pattern)
    problem = _problem(translated)
    if problem:
        remedy = "Correct it."
        if re.search(r"\(\?<?[=!]", pattern):
            remedy = "Look-ahead and look-behind are not supported: regular expressions here take linear time."
        elif re.search(r"\\\d", pattern):
            remedy = "References to groups inside a pattern are not supported."
        raise fault(f"{shown(pattern)} is no regular expression: {problem}", span, remedy=remedy)
    return translated


def group_names(pattern: str) -> list[str]:
    """The named groups of a translated pattern, in order."""
    return re.findall(r"\(\?P<([A-Za-z_]\w*)>", re.sub(r"\\.", "", pattern))


@functools.lru_cache(maxsize=1024)
def _problem(pattern: str) -> str:
    cursor = _scratch().cursor()
    try:
        cursor.execute("SELECT regexp_matches('', ?)", [pattern]).fetchall()
    except duckdb.Error as error:
        return str(error).partition(":")[2].strip().splitlines()[0][:120] or "it cannot be read"
    finally:
        cursor.close()
    return ""


@functools.cache
def _scratch() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "256MB"})
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")
    return connection


def json_path(path: str, span: Span) -> tuple[str, bool]:
    """DuckDB's path for `a.b{}.c{0}`, and whether it can give several values."""
    steps: list[str] = []
    at = 0
    many = False
    while at < len(path):
        match = STEP.match(path, at)
        if match is None:
            raise fault(f"{shown(path)} is no path", span, expected="a path such as a.b{}.c")
        word, index = match.groups()
        if word:
            steps.append('."' + word.replace("\\", "\\\\").replace('"', '\\"') + '"')
        elif index is not None:
            many = many or index == ""
            steps.append(f"[{index}]" if index else "[*]")
        at = match.end()
    return "$" + "".join(steps), many
