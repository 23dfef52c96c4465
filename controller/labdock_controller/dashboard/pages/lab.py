"""The first page: the lab, step by step, from nothing to a fitted model and what follows from it."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from labdock_controller.access.rights import SIGNED_IN, Principal
from labdock_controller.dashboard.page import page
from labdock_controller.environments import Environment
from labdock_controller.reconcile import Status
from labdock_controller.searches.rights import caller_of
from labdock_controller.services import Services
from labdock_controller.web.guard import needs
from labdock_controller.web.routes.environments import view
from labdock_controller.web.state import Here, Me, searches_made

router = APIRouter(tags=["dashboard"])
ENVIRONMENT = "__dev__"
MODEL = "a_threat_hunt_model"
NOTEBOOK = "a_threat_hunting_notebook"
HOURLY = (
    'index=botsv3 source="*WinEventLog:Security"\n| bin _time span=1h\n| fillnull value=unknown Account_Name\n'
    "| stats count by _time ComputerName Account_Name EventCode"
)
FIELDS = "_time ComputerName Account_Name EventCode count"
RANKING = (
    "| where predicted_outlier<0\n| eval predicted_outlier=abs(predicted_outlier)\n"
    "| stats sum(predicted_outlier) as anomaly_score by ComputerName\n| sort -anomaly_score"
)
FLOWS = (
    'index=botsv3 sourcetype="stream:tcp"\n| bin _time span=1m\n| stats count as numFlows avg(bytes_in) as avgBytes '
    "sum(bytes_in) as sumBytes avg(client_rtt) as avgDuration dc(dest_ip) as uniqueDstIp dc(dest_port) as "
    "uniqueDstPort dc(protocol_stack) as uniqueProtocols by _time src_ip"
)


@router.get("/", response_class=Response)
@needs(SIGNED_IN)
async def first(services: Here, principal: Me) -> Response:
    """The lab while nothing has been done yet, else the environments."""
    known = "list_environments" in principal.capabilities and services.environments.visible(principal)
    return RedirectResponse("/environments" if known else "/lab", 303)


@router.get("/lab", response_class=Response, dependencies=[Depends(searches_made)])
@needs(SIGNED_IN)
def lab(request: Request, services: Here, principal: Me) -> Response:
    """The lab's use cases with buttons that do a step or lead there."""
    here = development(services, principal)
    named = f"app:{MODEL}" if "share_app" in principal.capabilities else MODEL
    return page(
        request,
        "lab/lab.html",
        here="lab",
        title="Lab",
        environment=view(services, here) if here else None,
        name=ENVIRONMENT,
        notebook=NOTEBOOK,
        done=done(services, principal, here),
        fit=f"{HOURLY}\n| fit MLTKContainer algo={NOTEBOOK} {FIELDS} into {named}",
        stage=f"{HOURLY}\n| fit MLTKContainer mode=stage algo={NOTEBOOK} {FIELDS} into {named}",
        ranking=f"{HOURLY}\n| apply {named}\n{RANKING}",
        botnet=f"{FLOWS}\n| apply onnx:nn_botnet\n| where 'predicted(botnet)'>=1",
        flows=FLOWS,
        fraud="| inputlookup credit_card_test.csv\n| apply onnx:credit_card_fraud\n| table V* predicted(Class)",
        cards="| inputlookup credit_card_test.csv",
        to_search=to_search,
    )


def to_search(search: str) -> str:
    """The Search page with this search, over all time."""
    return "/search?" + urlencode({"q": search, "earliest": "0"})


def development(services: Services, principal: Principal) -> Environment | None:
    """The user's environment for notebooks: `__dev__`, else one that runs, else the first."""
    if "list_environments" not in principal.capabilities:
        return None
    mine = [e for e in services.environments.visible(principal) if e.mode == "dev"]
    order = {Status.RUNNING: 0, Status.STARTING: 1}
    return min(mine, key=lambda e: (e.name != ENVIRONMENT, order.get(e.status, 2)), default=None)


def done(services: Services, principal: Principal, environment: Environment | None) -> dict[str, Any]:
    """Which steps are behind the user; the page marks the first that is not."""
    if "search" not in principal.capabilities:
        return {"data": False, "environment": environment is not None, "fit": None, "botnet": False, "fraud": False}
    caller = caller_of(principal)
    index = "botsv3" in services.searches.indexes.names(caller)
    lookup = "credit_card_test.csv" in services.searches.lookups.names(caller)
    fitted = services.models.named(MODEL, principal)
    names = set(services.models.names(principal, "onnx"))
    return {
        "data": index and lookup,
        "environment": environment is not None and environment.status is Status.RUNNING,
        "fit": fitted[0] if fitted else None,
        "botnet": "nn_botnet" in names,
        "fraud": "credit_card_fraud" in names,
    }
