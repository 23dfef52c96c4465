"""What a pipeline has become after some of its commands: where its rows are, which fields they have, in what order."""

import fnmatch
import functools
import re
from dataclasses import dataclass, replace
from typing import Literal, Self

from labdock_search import sql
from labdock_search.faults import Span, fault
from labdock_search.kinds import Column, Kind
from labdock_search.sql import E

ResultKind = Literal["events", "statistics", "visualization"]


@dataclass(frozen=True, slots=True)
class Key:
    """A column that rows are ordered by."""

    id: str
    descending: bool = False
    nulls_first: bool = False

    def tree(self) -> E:
        return sql.ordered(sql.column(self.id), descending=self.descending, nulls_first=self.nulls_first)

    def reversed(self) -> "Key":
        return Key(self.id, not self.descending, not self.nulls_first)


@dataclass(frozen=True, slots=True)
class Missing:
    """Why fields of a prefix are not there: said when one is asked for."""

    prefix: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Frame:
    """Immutable. `relation` has at least the columns of `fields` and `order`.

    `natural` says that a plain scan of the relation gives the rows in order, so that nothing needs to be sorted.
    """

    relation: str
    fields: dict[str, Column]
    order: tuple[Key, ...] = ()
    natural: bool = False
    kind: ResultKind = "statistics"
    missing: tuple[Missing, ...] = ()
    open_prefix: str = ""  # explain only: fields of this prefix exist but are not known yet

    def with_(self, **changes: object) -> Self:
        return replace(self, **changes)  # type: ignore[arg-type]

    def find(self, name: str, span: Span) -> Column | None:
        """The field's column, or None where no row has it. Raises where it is known why it is missing."""
        column = self.fields.get(name)
        if column is None:
            for reason in self.missing:
                if name.startswith(reason.prefix):
                    raise fault(f"There is no field {name!r}: {reason.message}", span, remedy=reason.remedy)
            if self.open_prefix and name.startswith(self.open_prefix):
                return Column("unknown", Kind.NUM)
        return column

    def expand(self, pattern: str) -> list[str]:
        """The fields a name or wildcard stands for, in schema order; a plain name stands for itself."""
        if "*" not in pattern:
            return [pattern]
        match = wildcard(pattern).fullmatch
        inner = pattern.startswith("_")
        return [f for f in self.fields if match(f) and (inner or not f.startswith("_") or f == "_time")]

    def order_trees(self) -> list[E]:
        return [key.tree() for key in self.order]


@functools.lru_cache(maxsize=512)
def wildcard(pattern: str) -> re.Pattern[str]:
    """Only `*` is special."""
    escaped = pattern.replace("[", "[[]").replace("?", "[?]")
    return re.compile(fnmatch.translate(re.sub(r"\*+", "*", escaped)), re.DOTALL)
