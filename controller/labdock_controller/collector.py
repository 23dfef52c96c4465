"""The event collector as a service of the controller: its tokens are personal tokens, its indexes the home's."""

import threading
from typing import TYPE_CHECKING, Literal

from labdock_controller.access.tokens import Tokens
from labdock_controller.searches.service import Searches

if TYPE_CHECKING:
    from labdock_search.data.collector import Collector
    from labdock_search.data.hec import EventCollector, Sender

CAPABILITY = "send_events"
DEFAULT_INDEX = "main"


class CollectorService:
    """`close` it with the controller. The writing threads begin with the first events."""

    def __init__(self, searches: Searches, tokens: Tokens) -> None:
        self._searches = searches
        self._tokens = tokens
        self._mutex = threading.Lock()
        self._collector: Collector | None = None
        self._protocol: EventCollector | None = None
        self._closed = False

    def close(self) -> None:
        with self._mutex:
            self._closed = True
            if self._collector is not None:
                self._collector.close()

    @property
    def protocol(self) -> "EventCollector":
        """The protocol; blocks for a moment the first time."""
        with self._mutex:
            return self._protocol or self._make()

    def _make(self) -> "EventCollector":
        from labdock_search.data.collector import Collector  # noqa: PLC0415 - Arrow comes with the first event
        from labdock_search.data.hec import EventCollector  # noqa: PLC0415

        self._collector = Collector(self._searches.indexes)
        self._protocol = EventCollector(self._collector, self._authorize)
        if self._closed:
            self._collector.close()
        return self._protocol

    def _authorize(self, token: str) -> "Sender | Literal['disabled'] | None":
        """A personal token whose owner and restriction give `send_events`; another living token is disabled here."""
        from labdock_search.data.hec import Sender  # noqa: PLC0415

        principal = self._tokens.cached(token, "token") or self._tokens.authenticate(token, "token")
        if principal is None:
            return None
        if CAPABILITY not in principal.capabilities:
            return "disabled"
        return Sender(principal.user, self._is_index, index=DEFAULT_INDEX)

    def _is_index(self, name: str) -> bool:
        """Events go to indexes that exist, and to the default one, which the first event makes."""
        return name == DEFAULT_INDEX or name in self._searches.indexes.all_names()

    def maintain(self) -> None:
        """Retention, compaction and tidying of all indexes."""
        if self._searches.indexes.folder.is_dir():
            self._searches.indexes.maintain()
