"""The search page. What it shows comes from the API as it is asked for; the page itself reads next to nothing."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from labdock_controller.dashboard.page import page
from labdock_controller.searches.rights import caller_of
from labdock_controller.web.guard import needs
from labdock_controller.web.state import Here, Me, searches_made

router = APIRouter(tags=["dashboard"], dependencies=[Depends(searches_made)])
BOTNET = (
    'index=botsv3 sourcetype="stream:tcp"\n| bin _time span=1m\n| stats count as numFlows sum(bytes_in) as sumBytes '
    "dc(dest_ip) as uniqueDstIp by _time src_ip\n| sort -numFlows"
)


@router.get("/search", response_class=Response)
@needs("search")
def search(
    services: Here, principal: Me, request: Request, app: Annotated[str, Query(max_length=64)] = "search"
) -> Response:
    """The editor; `q`, `earliest`, `latest` and `job` of the address are read in the browser."""
    caller = caller_of(principal, app)
    indexes, lookups = services.searches.indexes.names(caller), services.searches.lookups.names(caller)
    return page(
        request,
        "search/page.html",
        here="search",
        title="Search",
        style_nonce=True,
        app=app,
        indexes=indexes,
        lookups=lookups,
        examples=examples(indexes, lookups),
    )


def examples(indexes: list[str], lookups: list[str]) -> list[tuple[str, str]]:
    """Searches that find something here, the simplest first."""
    found = []
    for index in [name for name in indexes if not name.startswith("_")][:1]:
        found += [
            ("The newest events", f"index={index} | head 100"),
            ("How many there are, over time", f"index={index} | timechart count by sourcetype"),
            ("What is in the index", f"| tstats count where index={index} by sourcetype, host"),
        ]
    if "botsv3" in indexes:
        found.append(("Network flows by minute and source", BOTNET))
    found += [(f"The table {name}", f"| inputlookup {name} | head 1000") for name in lookups[:2]]
    return found
