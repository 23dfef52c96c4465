"""The stream of what happens."""

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from labdock.errors import InvalidOptions
from labdock_controller.web import streams
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me

router = APIRouter(prefix="/api/events", tags=["events"])


@router.get("", response_class=StreamingResponse)
@needs("list_environments")
async def events(services: Here, principal: Me, last_event_id: Annotated[str | None, Header()] = None) -> Response:
    """Every change of an environment that the caller may see, as server-sent events.

    With `Last-Event-ID` what was missed comes first.
    """
    if last_event_id is not None and not (
        last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19
    ):
        raise InvalidOptions("Last-Event-ID is no number.", remedy="Send the id of the last event you saw.")
    return streams.events(services, principal, None if last_event_id is None else int(last_event_id))
