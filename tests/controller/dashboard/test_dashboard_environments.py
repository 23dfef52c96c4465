"""Environments by clicks and typing only, against a real controller; signing in; what happens when it goes away."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def row(page: Page, name: str) -> Any:
    return page.locator(f'tr[data-environment="{name}"]')


def test_an_environment_is_started_watched_stopped_and_deleted(shared_controller: Any, visit: Any) -> None:
    visit.expects("status of 404")  # the page of what was just deleted looks once more
    page = visit(shared_controller, "/environments")
    other = visit(shared_controller, "/environments")  # a second window sees all of it
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="New environment")
    dialog.get_by_label("Name").fill("one")
    dialog.get_by_label("Runtime").select_option("quick")
    dialog.get_by_label("Memory").fill("512")
    dialog.get_by_role("button", name="Start").click()
    page.wait_for_url("**/environments/one")
    expect(page.get_by_role("heading", name=re.compile("^one running"))).to_be_visible()
    expect(row(other, "one").locator(".chip")).to_have_text("running")
    assert shared_controller.environment("one")["limits"]["memory_mb"] == 512
    expect(page.locator("[data-log]")).to_contain_text("listening")
    expect(page.locator("[data-use=memory] [data-figure]")).to_contain_text("MB")
    expect(page.locator("[data-use=cpu] canvas")).to_be_visible()
    assert page.locator("[data-limit]").inner_text().replace("\u202f", " ") == "of 537 MB"
    page.get_by_label("Everyone").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert shared_controller.environment("one")["sharing"] == "global"
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("h1 .chip")).to_have_text("stopped")
    expect(row(other, "one").locator(".chip")).to_have_text("stopped")
    page.get_by_label("More for one").click()
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog", name="Delete environment")
    delete = dialog.get_by_role("button", name="Delete")
    dialog.get_by_label(re.compile("to confirm")).fill("on")
    expect(delete).to_be_disabled()
    dialog.get_by_label(re.compile("to confirm")).fill("one")
    delete.click()
    page.wait_for_url("**/environments")
    expect(row(other, "one")).to_have_count(0)
    assert shared_controller.status("one") is None


def test_a_failed_start_says_why_and_keeps_its_log(shared_controller: Any, visit: Any) -> None:
    page = visit(shared_controller, "/environments")
    page.get_by_role("button", name="New environment").first.click()
    dialog = page.get_by_role("dialog", name="New environment")
    dialog.get_by_label("Name").fill("broken")
    dialog.get_by_label("Runtime").select_option("dying")
    dialog.get_by_role("button", name="Start").click()
    page.wait_for_url("**/environments/broken")
    expect(page.locator("h1 .chip")).to_have_text("failed")
    expect(page.get_by_role("alert")).to_contain_text("exit code 7")
    expect(page.locator("[data-log]")).to_contain_text("about to die")
    expect(page.get_by_label("How far the start has come")).to_contain_text("starting")
    page.reload()
    expect(page.locator("[data-log]")).to_contain_text("about to die")
    shared_controller("DELETE", "/api/environments/broken")


def test_a_refusal_stays_in_the_form(shared_controller: Any, visit: Any) -> None:
    visit.expects("status of 422", "status of 409")
    shared_controller.start("taken")
    page = visit(shared_controller, "/environments")
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="New environment")
    dialog.get_by_label("Name").fill("taken")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_role("alert")).to_contain_text("taken")
    assert dialog.get_by_label("Name").input_value() == "taken"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    shared_controller("DELETE", "/api/environments/taken")


def test_signing_in_with_a_password_and_out_again(shared_controller: Any, visit: Any) -> None:
    visit.expects("status of 401")
    shared_controller("POST", "/api/users", {"name": "ann", "roles": ["viewer"], "password": "a long password"})
    page = visit.anonymous(shared_controller)
    page.goto(f"{shared_controller.url}/environments?x=1")
    assert page.url.endswith("/sign-in?next=%2Fenvironments%3Fx%3D1")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/environments?x=1")
    expect(page.get_by_role("button", name="New environment")).to_have_count(0)
    visit.expects("status of 403", "status of 404")
    page.goto(f"{shared_controller.url}/models")
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    expect(page.locator("main")).to_contain_text("search")
    expect(page.locator("main")).to_contain_text("An administrator can give you")
    page.goto(f"{shared_controller.url}/environments/nothing")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(f"{shared_controller.url}/environments")
    assert "/sign-in" in page.url


def test_an_ended_session_leads_to_sign_in_and_back(shared_controller: Any, visit: Any) -> None:
    visit.expects("status of 401")
    page = visit(shared_controller, "/environments")
    expect(page.locator("h1")).to_be_visible()
    page.context.clear_cookies()
    page.evaluate(
        "import(document.querySelector('script[src$=\"labdock.js\"]').src.replace('labdock.js', 'refresh.js'))"
        ".then((m) => m.refresh(0))"
    )
    page.wait_for_url("**/sign-in?next=%2Fenvironments")


def test_the_keyboard_goes_everywhere(shared_controller: Any, visit: Any) -> None:
    page = visit(shared_controller, "/environments")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url("**/lab")
    page.go_back()
    page.wait_for_url(re.compile("/environments(#main)?$"))
    page.keyboard.press("t")
    page.keyboard.press("t")
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == theme


def test_nothing_that_users_write_is_executed(shared_controller: Any, visit: Any, xss: list[str]) -> None:
    """Log lines are free text; names are checked by the API, so the log and causes are what users control here."""
    started = shared_controller.start("evil")
    log = shared_controller.home / "environments" / started["id"] / "logs" / "api.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"{text}\n" for text in xss))
    page = visit(shared_controller, "/environments/evil")
    expect(page.locator("[data-log]")).to_contain_text(xss[0])
    expect(page.locator("[data-log]")).to_contain_text(xss[-1].strip())
    assert page.locator("[data-log] *").count() == 0
    for text in xss:
        for path in ("/sign-in?next=", "/environments/"):
            answer = shared_controller("GET", f"{path}{requests_quote(text)}", headers={"Accept": "text/html"})
            assert text not in answer.text or not re.search("[<>\"']", text), f"{path}: {text}"
    visit.expects("status of 404")
    page.goto(f"{shared_controller.url}/environments/{requests_quote(xss[2])}")
    expect(page.locator("h1")).to_be_visible()
    shared_controller("DELETE", "/api/environments/evil")


def requests_quote(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def test_a_restarted_controller_is_found_again(make_controller: Any, visit: Any) -> None:
    visit.expects("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE", "ERR_EMPTY", "status of 50", "ERR_CONNECTION_RESET")
    controller = make_controller()
    page = visit(controller, "/environments")
    expect(page.get_by_text("No environment yet")).to_be_visible()
    port = controller.url.rpartition(":")[2]
    controller.end()
    banner = page.get_by_text("The controller does not answer")
    expect(banner).to_be_visible()
    again = make_controller(home_of=controller, port=port)
    again.start("later")
    expect(banner).to_be_hidden(timeout=30_000)
    expect(row(page, "later")).to_be_visible()
