"""What routes take from the application: the services, and who asks."""

import asyncio
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from labdock_controller.access.rights import SIGNED_IN, Principal
from labdock_controller.services import Services
from labdock_controller.web.guard import require


def services_of(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


def principal_of(connection: HTTPConnection) -> Principal:
    return require(connection, SIGNED_IN)


async def searches_made(connection: HTTPConnection) -> None:
    """For routers that use searches or their data: before their routes run, asking for a part blocks nobody."""
    searches = services_of(connection).searches
    if not searches.made:
        await asyncio.to_thread(searches.make)


# Whole numbers that every JSON reader and the store keep exactly, and times that a clock can count to: what is
# larger is refused as what it is, not met as an overflow further in.
LARGEST = 2**53
LONGEST = 30 * 86_400.0  # seconds

Here = Annotated[Services, Depends(services_of)]
Me = Annotated[Principal, Depends(principal_of)]
