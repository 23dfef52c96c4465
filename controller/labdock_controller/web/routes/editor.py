"""What the search editor needs: everything that can be named in a search, and what its user searched for before."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from labdock_controller.searches.history import LONGEST, History
from labdock_controller.searches.jobs import SearchRequest
from labdock_controller.searches.rights import caller_of
from labdock_controller.web.compression import compressed
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me, searches_made

router = APIRouter(prefix="/api/search", tags=["searches"], dependencies=[Depends(searches_made)])


class Typed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    search: str = Field(min_length=1, max_length=LONGEST)
    app: str = Field(default="search", max_length=64)
    earliest: str = Field(default="", max_length=64)
    latest: str = Field(default="", max_length=64)


@router.get("/completion", response_model=dict[str, Any])
@needs("search")
def completion(
    services: Here, principal: Me, request: Request, app: Annotated[str, Query(max_length=64)] = "search"
) -> Response:
    """Commands with their help, functions, and the indexes, lookups, models and fields that one sees from an app."""
    from labdock_search.catalogue import catalogue  # noqa: PLC0415 - it loads the language

    return compressed(request, JSONResponse(catalogue(services.searches.engine.host, caller_of(principal, app))))


@router.get("/history")
@needs("search")
def history(
    services: Here,
    principal: Me,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    containing: Annotated[str, Query(max_length=200)] = "",
) -> list[dict[str, Any]]:
    """One's own searches, the newest first, each once."""
    return [asdict(each) for each in History(services.store).list(principal, limit, containing)]


@router.post("/history", status_code=204, response_class=Response)
@needs("search")
def remember(services: Here, principal: Me, body: Typed) -> Response:
    """Note a search that somebody typed; programs' searches are not noted."""
    request = SearchRequest(body.search, body.app, body.earliest, body.latest)
    History(services.store).note(principal, request)
    return Response(status_code=204)


@router.delete("/history", status_code=204, response_class=Response)
@needs("search")
def clear(services: Here, principal: Me) -> Response:
    """Forget one's own."""
    History(services.store).clear(principal)
    return Response(status_code=204)
