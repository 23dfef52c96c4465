"""A list that is shown in pages: what its address asks for, and the addresses of its other pages."""

from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

PER_PAGE = 20


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a list was asked for. A list with more to ask for adds fields; one with its default is not in an address."""

    path: str
    contains: str = ""
    page: int = 1

    @property
    def first(self) -> int:
        """How many come before this page."""
        return (self.page - 1) * PER_PAGE

    @property
    def others(self) -> dict[str, str]:
        """What a form that filters by a text keeps."""
        return {k: v for k, v in self.query.items() if k not in ("contains", "page")}

    def address(self, **changes: Any) -> str:
        """The list with something else, from its first page unless one is named."""
        query = replace(self, **{"page": 1, **changes}).query
        return self.path + (f"?{urlencode(query)}" if query else "")

    def pages(self, total: int) -> int:
        """How many pages `total` entries take; at least one."""
        return max(1, -(-total // PER_PAGE))

    @property
    def query(self) -> dict[str, str]:
        """What the address says after its `?`."""
        given = ((f, getattr(self, f.name)) for f in fields(self) if f.name != "path")
        asked = {f.name: value for f, value in given if value != f.default}
        return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in asked.items()}
