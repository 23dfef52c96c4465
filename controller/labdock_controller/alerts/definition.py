"""What a saved search is, as JSON: the search, and for an alert its schedule, condition, throttling and actions."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from labdock.errors import InvalidOptions

COMPARISONS = (">", ">=", "=", "!=", "<", "<=")
ACTIONS: dict[str, tuple[str, ...]] = {  # type -> what it needs
    "webhook": ("url",),
    "email": ("to",),
    "index": (),
    "script": ("name",),
}
OPTIONAL = {
    "webhook": ("token_header",),
    "email": ("subject",),
    "index": ("index", "risk_object", "risk_score", "title"),
    "script": (),
}


@dataclass(frozen=True)
class Definition:
    """`condition` is `{"rows": ">", "value": 0}` or `{"search": "where count > 5"}` over the result.

    `throttle` is `{"seconds": 3600, "fields": ["src_ip"]}`: after firing, the same values of the fields (or, without
    fields, everything) are silent for so long. `actions` are objects with a `type`.
    """

    search: str
    earliest: str = ""
    latest: str = ""
    timezone: str = "UTC"
    description: str = ""
    schedule: str = ""
    condition: dict[str, Any] = field(default_factory=lambda: {"rows": ">", "value": 0})
    throttle: dict[str, Any] = field(default_factory=dict)
    actions: list[dict[str, Any]] = field(default_factory=list)
    max_seconds: float = 600.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Raises `InvalidOptions` that names what is wrong."""
        made = cls.stored(value)
        made.check()
        return made

    @classmethod
    def stored(cls, value: dict[str, Any]) -> Self:
        """As the store has it, unchecked: a definition of another version can be looked at, mended and deleted."""
        known = [f.name for f in fields(cls)]
        return cls(**{"search": "", **{key: item for key, item in value.items() if key in known}})

    def check(self) -> None:
        if not self.search.strip():
            raise InvalidOptions("There is no search to save.", remedy="Send `search`.")
        if "search" in self.condition:
            if not str(self.condition["search"]).strip():
                raise InvalidOptions(
                    "The condition's search is empty.", remedy='Such as {"search": "where count > 5"}.'
                )
        elif self.condition.get("rows") not in COMPARISONS or not isinstance(self.condition.get("value"), int):
            raise InvalidOptions(
                f"{self.condition} is no condition.",
                remedy=f'Send {{"rows": ">", "value": 0}} (with {", ".join(COMPARISONS)}) or {{"search": "where …"}}.',
            )
        if self.throttle and not (
            isinstance(self.throttle.get("seconds"), int | float) and self.throttle["seconds"] > 0
        ):
            raise InvalidOptions(
                "The throttle has no seconds.", remedy='Such as {"seconds": 3600, "fields": ["host"]}.'
            )
        for action in self.actions:
            _check_action(action)


def _check_action(action: dict[str, Any]) -> None:
    kind = action.get("type")
    if kind not in ACTIONS:
        raise InvalidOptions(f"{kind!r} is no action.", remedy=f"Actions are: {', '.join(ACTIONS)}.")
    missing = [key for key in ACTIONS[kind] if not action.get(key)]
    if missing:
        raise InvalidOptions(f"The action {kind} lacks {', '.join(missing)}.", remedy="Add it.")
    unknown = sorted(set(action) - {"type", *ACTIONS[kind], *OPTIONAL[kind]})
    if unknown:
        known = ", ".join((*ACTIONS[kind], *OPTIONAL[kind]))
        raise InvalidOptions(f"The action {kind} knows no {', '.join(unknown)}.", remedy=f"It knows: {known}.")
