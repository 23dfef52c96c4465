"""The dashboard in a real chromium against real controllers.

No request may leave the controller, no script may fail and no policy may be violated: `visit` watches each page it
opens, and the test fails at its end where one did. What a test provokes on purpose it names with `expects`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route
from tests.waiting import PATIENCE

REPOSITORY = Path(__file__).parents[3]
AXE = REPOSITORY / ".cache" / "assets" / "axe.min.js"
PICTURES = REPOSITORY / "docs" / "pictures" / "dashboard"

# Each page once: its name (of its pictures), its address, and what is there when it is complete. Every page's test
# of accessibility, size and look runs over this list; add yours.
PAGES: list[tuple[str, str, str]] = [
    ("lab", "/lab", "h1"),
    ("environment", "/environments/__dev__", "[data-use=cpu] canvas"),
    ("environments", "/environments", "#rows tbody tr"),
    ("search", "/search", "[data-ready]"),
    (
        "search-result",
        "/search?q=index%3Dbotsv3%20%7C%20stats%20count%20by%20sourcetype",
        "[data-state=done] .tabulator-row",
    ),
    ("search-events", "/search?q=index%3Dbotsv3%20sourcetype%3Dstream%3Atcp", "[data-state=done] .tabulator-row"),
    ("data", "/data", "#indexes table"),
    ("index", "/data/indexes/botsv3", ".events li"),
    ("lookup", "/data/lookups/credit_card_test.csv", ".preview td"),
    ("alerts", "/alerts", "#alerts table"),
    ("alert", "/alerts/busy_sources", "#history table"),
    ("notables", "/alerts/notables", "#notables table"),
    ("models", "/models", "#models table"),
    ("model", "/models/nn_botnet", "#versions-title"),
    ("modules", "/modules/__dev__", "#modules"),
    ("users", "/administration/users", "#users"),
    ("roles", "/administration/roles", "table.matrix"),
    ("tokens", "/administration/tokens", "#tokens"),
    ("quotas", "/administration/quotas", "#quotas"),
    ("settings", "/administration/settings", "#settings"),
    ("audit", "/administration/audit", "#audit"),
    ("doctor", "/administration/doctor", "#checks table"),
    ("versions", "/administration/versions", "main table"),
]

# Names and values that would run something where they are not escaped; each calls window.hit().
XSS = [
    "<script>hit()</script>",
    "</script><script>hit()</script>",
    "<img src=x onerror=hit()>",
    "<img src=x onerror='hit()'>",
    '"><script>hit()</script>',
    "'><script>hit()</script>",
    '"><img src=x onerror=hit()>',
    "'><img src=x onerror=hit()>",
    '" onmouseover="hit()" x="',
    "' onmouseover='hit()' x='",
    '" autofocus onfocus="hit()" x="',
    "' autofocus onfocus='hit()' x='",
    "<svg onload=hit()>",
    "<svg/onload=hit()//",
    "<svg><script>hit()</script></svg>",
    "<svg><animate onbegin=hit() attributeName=x dur=1s>",
    "<body onload=hit()>",
    "<iframe src=javascript:hit()>",
    "<iframe srcdoc='<script>parent.hit()</script>'>",
    "<object data=javascript:hit()>",
    "<embed src=javascript:hit()>",
    "<a href=javascript:hit()>x</a>",
    "javascript:hit()",
    "JaVaScRiPt:hit()",
    "java\tscript:hit()",
    "data:text/html,<script>hit()</script>",
    "<details open ontoggle=hit()>",
    "<video><source onerror=hit()>",
    "<audio src=x onerror=hit()>",
    "<input autofocus onfocus=hit()>",
    "<select autofocus onfocus=hit()>",
    "<textarea autofocus onfocus=hit()>",
    "<marquee onstart=hit()>",
    "<math><mtext><table><mglyph><style><img src=x onerror=hit()>",
    "<template><script>hit()</script></template>",
    "<link rel=stylesheet href=javascript:hit()>",
    "<meta http-equiv=refresh content='0;url=javascript:hit()'>",
    "<base href=javascript:hit()//>",
    "<form action=javascript:hit()><button autofocus>x</button></form>",
    "<style>@import 'javascript:hit()';</style>",
    "<div style=\"background:url('javascript:hit()')\">",
    "{{constructor.constructor('hit()')()}}",
    "{{ 7*7 }}{% for x in y %}{% endfor %}",
    "${hit()}",
    "`${hit()}`",
    "%3Cscript%3Ehit()%3C/script%3E",
    "&lt;script&gt;hit()&lt;/script&gt;",
    "\u003cscript\u003ehit()\u003c/script\u003e",
    "<scr\x00ipt>hit()</scr\x00ipt>",
    "--><script>hit()</script><!--",
    "]]><script>hit()</script>",
    "<div hx-get=/api/me hx-trigger=load hx-on:htmx:load=hit()>x</div>",
    "<button data-api='DELETE /api/me' autofocus>x</button>",
]


@pytest.fixture(scope="session")
def xss() -> list[str]:
    """At least 50 texts that must stay texts. A page that executes one has called `window.hit()`: `Visits` looks."""
    assert len(XSS) >= 50
    return XSS


@dataclass
class Visits:
    """Opens pages as a user: `visit("/models")`, `visit("/models", user="ann", theme="dark", width=390)`."""

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    expected: list[re.Pattern[str]] = field(default_factory=list)

    def __call__(self, controller: Any, path: str = "/", *, token: str = "", **context: Any) -> Page:
        """A page of a new browser context, signed in with `token` (the owner's unless given) by a one-time link."""
        page = self.anonymous(controller, **context)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = controller("POST", "/api/tickets", {"next": path}, headers=headers)
        assert answer.status_code == 201, answer.text
        page.goto(answer.json()["url"])
        return page

    def anonymous(
        self, controller: Any, *, theme: str = "light", width: int = 1280, height: int = 900, **more: Any
    ) -> Page:
        """A page of a browser that nobody is signed in with."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="light",
            locale="en-GB",
            timezone_id="Europe/Berlin",
            **more,
        )
        self.contexts.append(context)
        context.add_cookies([{"name": "labdock_theme", "value": theme, "url": controller.url}])
        context.add_init_script("window.hit = () => console.error('EXECUTED')")
        context.route("**/*", lambda route: self._pass(controller, route))
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda m: self._note(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self._note(f"page error: {error}"))
        return page

    def expects(self, *patterns: str) -> None:
        """Faults that this test provokes: regular expressions."""
        self.expected.extend(re.compile(pattern) for pattern in patterns)

    def unexpected(self) -> list[str]:
        # Chromium's word for a page that was left before it was drawn: no fault of a page.
        self.expects("ViewTransition opt-in disabled")
        return [fault for fault in self.faults if not any(p.search(fault) for p in self.expected)]

    def _pass(self, controller: Any, route: Route) -> None:
        if route.request.url.startswith((f"{controller.url}/", "data:", "blob:")):
            route.continue_()
        else:
            self._note(f"request to {route.request.url}")
            route.abort()

    def _note(self, fault: str) -> None:
        self.faults.append(fault)


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visits]:
    """Opens watched pages; their contexts end with the test, which fails where a page did something it must not."""
    visits = Visits(chromium)
    yield visits
    for context in visits.contexts:
        context.close()
    assert visits.unexpected() == []


@pytest.fixture(scope="module")
def furnished(shared_controller: Any) -> Any:
    """A controller with what each page shows: an environment, the lab's data and models."""
    shared_controller.start("__dev__", mode="dev")
    shared_controller.start("nightly", mode="prod", limits={"cpus": 2, "memory_mb": 2048})
    shared_controller("POST", "/api/environments", {"name": "broken", "runtime": "dying"})
    shared_controller("POST", "/api/environments/nightly/stop?wait=30")
    answer = shared_controller("POST", "/api/lab")
    assert answer.status_code == 200, answer.text
    action = {"type": "index", "risk_object": "src_ip", "risk_score": 20, "title": "Busy source"}
    busy = "index=botsv3 sourcetype=stream:tcp | stats count by src_ip | sort -count | head 5"
    alert = {"search": busy, "schedule": "1d", "actions": [action], "description": "Sources with many connections"}
    assert shared_controller("PUT", "/api/saved-searches/busy_sources", alert).status_code == 200
    assert shared_controller("POST", "/api/saved-searches/busy_sources/run", {}).json()["status"] == "fired"
    report = {"search": "index=botsv3 | stats count by sourcetype", "description": "What there is"}
    assert shared_controller("PUT", "/api/saved-searches/sourcetypes", report).status_code == 200
    return shared_controller


def serious(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using the page, with where it is."""
    # Evaluated, not added as an element: the page's policy would refuse that, as it should.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [said(v) for v in found["violations"] if v["impact"] in ("serious", "critical")]


def said(violation: dict[str, Any]) -> str:
    places = [f"{node['html'][:160]} {node.get('failureSummary') or ''}" for node in violation["nodes"][:4]]
    return f"{violation['id']}: {violation['help']}: {' | '.join(places)}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dashboard_page" in metafunc.fixturenames:
        metafunc.parametrize("dashboard_page", PAGES, ids=[name for name, _, _ in PAGES])


@pytest.fixture
def pictures() -> Path:
    """Where pictures of pages are kept."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES


@pytest.fixture
def accessible() -> Callable[[Page], list[str]]:
    """`assert accessible(page) == []`"""
    return serious
