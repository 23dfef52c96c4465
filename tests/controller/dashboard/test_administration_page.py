"""Administration by clicks: users, roles, sign-in links, tokens, the audit log."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from conftest import Controller, controllers
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        yield make()


def test_a_user_is_made_signs_in_by_link_is_disabled_and_deleted(lab: Controller, visit: Any) -> None:
    page = visit(lab, "/administration/users")
    page.get_by_role("button", name="New user").click()
    dialog = page.get_by_role("dialog", name="New user")
    dialog.get_by_label("Name").fill("carol")
    dialog.get_by_role("button", name="Create").click()
    row = page.locator("tr", has_text="carol")
    expect(row).to_contain_text("user")
    row.get_by_role("button", name="Roles of carol").click()
    roles = page.get_by_role("dialog", name="Roles")
    roles.get_by_role("checkbox", name=re.compile("^mltk_model_admin")).check()
    roles.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("mltk_model_admin")
    assert lab("GET", "/api/users/carol").json()["roles"] == ["mltk_model_admin", "user"]

    row.get_by_label("Actions for carol").click()
    row.get_by_role("button", name="Sign-in link").click()
    link = page.get_by_role("dialog", name="Sign-in link").locator("[data-secret]").inner_text()
    theirs = visit.anonymous(lab)
    theirs.goto(link)
    theirs.goto(f"{lab.url}/models")
    expect(theirs.get_by_role("button", name="Upload ONNX Model").first).to_be_visible()
    page.get_by_role("button", name="Done").click()

    row.get_by_label("Actions for carol").click()
    row.get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("disabled")
    theirs.goto(f"{lab.url}/models")
    expect(theirs).to_have_url(re.compile("/sign-in"))

    row.get_by_label("Actions for carol").click()
    row.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog", name="Delete a user")
    expect(dialog).to_contain_text("Tokens and sessions end at once.")
    dialog.get_by_label("Type carol to confirm").fill("carol")
    dialog.get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert lab("GET", "/api/users/carol").status_code == 404


def test_a_token_is_shown_once_works_and_is_revoked(lab: Controller, visit: Any) -> None:
    visit.expects("409")
    page = visit(lab, "/administration/tokens")
    page.get_by_role("button", name="New token").first.click()
    dialog = page.get_by_role("dialog", name="New token")
    dialog.get_by_label("Name").fill("by_clicks")
    dialog.get_by_label("Expires in").fill("3")
    dialog.get_by_role("checkbox", name="Everything that I may").uncheck()
    dialog.get_by_role("checkbox", name=re.compile("^list_environments")).check()
    dialog.get_by_role("button", name="Create").click()
    shown = page.get_by_role("dialog", name="Your new token")
    secret = shown.locator("[data-secret]").inner_text()
    headers = {"Authorization": f"Bearer {secret}"}
    assert requests.get(f"{lab.url}/api/me", headers=headers, timeout=10).json()["capabilities"] == [
        "list_environments"
    ]
    shown.get_by_role("button", name="Done").click()
    expect(shown).to_be_hidden()
    expect(page.locator("[data-secret]", has_text=secret)).to_have_count(0)
    assert secret not in page.content()
    page.reload()
    expect(shown).to_be_hidden()
    expect(page.locator("[data-secret]", has_text=secret)).to_have_count(0)
    assert secret not in page.content()
    row = page.locator("tr", has_text="by_clicks")
    expect(row).to_contain_text("list_environments")
    row.get_by_role("button", name="Revoke by_clicks").click()
    expect(row).to_have_count(0)
    assert requests.get(f"{lab.url}/api/me", headers=headers, timeout=10).status_code == 401


def test_the_audit_log_is_filtered_and_paged(lab: Controller, visit: Any) -> None:
    for number in range(60):
        lab("DELETE", f"/api/tokens/nobody{number:02}")
    page = visit(lab, "/administration/audit")
    page.get_by_label("Action or path").fill("nobody")
    page.get_by_label("Only what failed").check()
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    expect(page.locator("tbody tr").first).to_contain_text("nobody59")
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    expect(page.locator("tbody tr").last).to_contain_text("nobody00")


def test_hostile_names_are_refused_as_texts(lab: Controller, visit: Any, xss: list[str]) -> None:
    visit.expects("422", "409")
    page = visit(lab, "/administration/users")
    page.get_by_role("button", name="New user").click()
    dialog = page.get_by_role("dialog", name="New user")
    for text in xss[:50]:
        dialog.get_by_label("Name").fill(text.replace("\0", ""))
        dialog.get_by_role("button", name="Create").click()
        expect(dialog.get_by_role("alert")).to_be_visible()
    for text in xss:
        lab("DELETE", f"/api/tokens/{requests.utils.quote(text, safe='')}")
    page.goto(f"{lab.url}/administration/audit")
    expect(page.locator("tbody tr").first).to_be_visible()
    assert {user["name"] for user in lab("GET", "/api/users").json()} <= {"admin", "carol"}


def test_the_doctor_and_the_settings_are_shown_without_secrets(lab: Controller, visit: Any) -> None:
    page = visit(lab, "/administration/doctor")
    expect(page.locator("#checks table")).to_be_visible(timeout=60_000)
    page.goto(f"{lab.url}/administration/settings")
    expect(page.locator("#settings tr", has_text="LABDOCK_HOME")).to_contain_text(str(lab.home))
    assert lab.token not in page.content()


def test_a_quota_is_set_replaced_and_removed(lab: Controller, visit: Any) -> None:
    page = visit(lab, "/administration/quotas")
    for cpus in ("8", "6"):
        page.get_by_role("button", name="Set a quota").first.click()
        dialog = page.locator("#new-quota")
        dialog.get_by_label("Name").fill("power")
        dialog.get_by_label("Processors").fill(cpus)
        dialog.get_by_role("button", name="Save").click()
        row = page.locator("#quotas tbody tr", has_text="power")
        expect(row).to_contain_text(cpus)
    (found,) = lab("GET", "/api/quotas").json()
    assert {k: found[k] for k in ("kind", "name", "cpus", "environments")} == {
        "kind": "role", "name": "power", "cpus": 6, "environments": None,
    }  # fmt: skip
    row.get_by_role("button", name="Remove the quota of role power").click()
    expect(page.locator("#quotas")).to_contain_text("No quotas")
    assert lab("GET", "/api/quotas").json() == []


def test_a_user_without_rights_finds_tokens_and_roles_only(lab: Controller, visit: Any) -> None:
    visit.expects("403")
    lab("POST", "/api/users", {"name": "dave", "roles": ["viewer"]})
    page = visit.anonymous(lab)
    page.goto(lab("POST", "/api/users/dave/tickets").json()["url"])
    page.goto(f"{lab.url}/administration")
    expect(page).to_have_url(re.compile("/administration/tokens$"))
    tabs = page.get_by_role("navigation", name="Administration").get_by_role("link")
    assert tabs.all_inner_texts() == ["Tokens", "Roles", "Versions"]
    page.goto(f"{lab.url}/administration/users")
    expect(page.get_by_text("It takes the capability manage_users")).to_be_visible()
