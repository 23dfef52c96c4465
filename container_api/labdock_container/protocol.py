"""What the API's listener speaks: uvicorn's HTTP with the frames' short way into the spool."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from labdock.intake import Diverting, IntakeProtocol

_FIRST_REQUEST_SECONDS = 30.0  # for the headers of a connection's first request; uvicorn itself waits for ever


class _HttpProtocol(Diverting, HttpToolsProtocol):
    pass


class EnvironmentProtocol(IntakeProtocol):
    """Closes a connection that never asks for anything."""

    http = _HttpProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._http.loop.call_later(_FIRST_REQUEST_SECONDS, self._close_silent, transport)

    def _close_silent(self, transport: asyncio.BaseTransport) -> None:
        if not self._http.asked:
            transport.close()
