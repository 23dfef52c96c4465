"""What the pages are called, where they are, and who is shown the way to them."""

from dataclasses import dataclass

from labdock_controller.access.rights import SIGNED_IN, Principal


@dataclass(frozen=True)
class Entry:
    """One entry of the navigation. `key` is what a page says to be marked as the current one."""

    key: str
    title: str
    path: str
    capability: str
    letter: str  # pressed after `g`
    icon: str  # a name in `templates/icons.html`


ENTRIES = (
    Entry("lab", "Lab", "/lab", SIGNED_IN, "l", "lab"),
    Entry("environments", "Environments", "/environments", "list_environments", "e", "environments"),
    Entry("search", "Search", "/search", "search", "s", "search"),
    Entry("data", "Data", "/data", "search", "d", "data"),
    Entry("models", "Models", "/models", "search", "m", "models"),
    Entry("modules", "Modules", "/modules", "search", "o", "modules"),
    Entry("alerts", "Alerts", "/alerts", "search", "a", "alerts"),
    Entry("administration", "Administration", "/administration", SIGNED_IN, "x", "administration"),
)


def entries(principal: Principal | None) -> list[Entry]:
    """What this user may open."""
    if principal is None:
        return []
    return [e for e in ENTRIES if e.capability == SIGNED_IN or e.capability in principal.capabilities]
