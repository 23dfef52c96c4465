"""The models' pages by clicks: uploads and refusals, permissions as others see them, versions, a row, hostile texts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import Controller, controllers
from onnx_files import linear
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.browser]
WEIGHTS = [0.5, -2.0, 3.25]


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        controller = make()
        for name, roles in (("ann", ["user"]), ("bob", ["power"])):
            assert controller("POST", "/api/users", {"name": name, "roles": roles}).status_code == 201
        yield controller


def as_user(lab: Controller, visit: Any, name: str, path: str) -> Page:
    """A page of a user who came by a sign-in link."""
    page: Page = visit.anonymous(lab)
    page.goto(lab("POST", f"/api/users/{name}/tickets").json()["url"])
    page.goto(lab.url + path)
    return page


def upload(lab: Controller, file: Path, name: str, **more: str) -> None:
    answer = lab("POST", "/api/models/onnx", data=file.read_bytes(), params={"name": name, "target": "y", **more})
    assert answer.status_code == 201, answer.text


def test_a_file_is_checked_and_uploaded_by_the_dialog(lab: Controller, visit: Any, tmp_path: Path) -> None:
    visit.expects("422")
    file = linear(WEIGHTS, tmp_path / "first try.onnx")
    page = visit(lab, "/models")
    page.get_by_role("button", name="Upload ONNX Model").first.click()
    dialog = page.get_by_role("dialog", name="Upload ONNX Model")
    refused = tmp_path / "picture.onnx"
    refused.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    dialog.locator("[data-file]").set_input_files(refused)
    expect(dialog.get_by_role("alert")).to_contain_text("format")
    dialog.locator("[data-file]").set_input_files(file)
    expect(dialog).to_contain_text("The file has passed the checks.")
    expect(dialog).to_contain_text("takes 3 features and does not name them")
    expect(dialog.get_by_label("Model name")).to_have_value("first try")
    dialog.get_by_label("Target variable").fill("y")
    dialog.get_by_label("Feature variables").fill("a, b")
    dialog.get_by_role("button", name="Submit").click()
    expect(dialog.get_by_role("alert")).to_contain_text(re.compile("features", re.IGNORECASE))
    dialog.get_by_label("Feature variables").fill("a, b, c")
    dialog.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("The file has been uploaded successfully.")).to_be_visible()
    expect(page.get_by_text("Spaces in the name became '_'.")).to_be_visible()
    expect(page.get_by_role("link", name="first_try", exact=True)).to_be_visible()
    (version,) = lab("GET", "/api/models/first_try").json()["versions"]
    assert (version["features"], version["target"]) == (["a", "b", "c"], ["y"])


def test_what_one_user_shares_another_sees_and_no_longer(lab: Controller, visit: Any, tmp_path: Path) -> None:
    upload(lab, linear(WEIGHTS, tmp_path / "s.onnx"), "shared_one", features="a,b,c")
    theirs = as_user(lab, visit, "ann", "/models")
    expect(theirs.get_by_text("No models yet")).to_be_visible()
    mine = visit(lab, "/models")
    permissions(mine, "shared_one", "App")
    expect(theirs.get_by_role("link", name="shared_one", exact=True)).to_be_visible()
    expect(theirs.get_by_role("button", name="Permissions of shared_one")).to_have_count(0)
    permissions(mine, "shared_one", "App", readers=["power"])
    expect(theirs.get_by_text("No models yet")).to_be_visible()
    expect(as_user(lab, visit, "bob", "/models").get_by_role("link", name="shared_one", exact=True)).to_be_visible()
    lab("DELETE", "/api/models/shared_one")


def permissions(page: Page, name: str, display: str, readers: list[str] | None = None) -> None:
    page.get_by_role("button", name=f"Permissions of {name}").click()
    dialog = page.get_by_role("dialog", name="Edit permissions")
    dialog.get_by_role("radio", name=re.compile(f"^{display}")).check()
    everyone = dialog.get_by_role("checkbox", name="Everyone may use it", exact=True)
    everyone.set_checked(readers is None)
    if readers is not None:
        for role in ("user", "power", "mltk_model_admin", "admin"):
            dialog.get_by_role("checkbox", name=f"{role} may use it", exact=True).set_checked(role in readers)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The permissions are saved.").last).to_be_visible()
    expect(dialog).to_be_hidden()


def test_an_earlier_version_is_put_to_work_and_tried_on_a_row(lab: Controller, visit: Any, tmp_path: Path) -> None:
    files = [linear([weight * factor for weight in WEIGHTS], tmp_path / f"{factor}.onnx") for factor in (1, 10)]
    for file in files:
        upload(lab, file, "two_versions", features="a,b,c")
    row = [1.5, 2.25, -4.0]
    plain = [
        float(onnxruntime.InferenceSession(file).run(None, {"x": np.array([row], np.float32)})[0][0, 0])
        for file in files
    ]
    page = visit(lab, "/models/two_versions")
    assert tried(page, row) == pytest.approx(plain[1], rel=1e-6)
    page.get_by_role("button", name="Use version 1").click()
    expect(page.get_by_text("Version 1 is in use, although there is a newer one.")).to_be_visible()
    page.reload()
    assert tried(page, row) == pytest.approx(plain[0], rel=1e-6)
    page.get_by_role("button", name="Use the newest again").click()
    expect(page.get_by_role("button", name="Use version 1")).to_be_visible()
    assert lab("GET", "/api/models/two_versions").json()["last_used"]


def tried(page: Page, row: list[float]) -> float:
    for name, value in zip("abc", row, strict=True):
        page.get_by_label(name, exact=True).fill(str(value))
    page.get_by_role("button", name="Apply").click()
    found = page.locator("output [data-value]")
    expect(found).to_have_count(1)
    return float(found.get_attribute("data-value") or "nan")


def test_deleting_asks_for_the_name(lab: Controller, visit: Any, tmp_path: Path) -> None:
    upload(lab, linear(WEIGHTS, tmp_path / "d.onnx"), "goes_away", features="a,b,c")
    page = visit(lab, "/models/goes_away#delete")
    dialog = page.get_by_role("dialog", name="Delete goes_away")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_role("textbox").fill("goes_away")
    dialog.get_by_role("button", name="Delete").click()
    page.wait_for_url(re.compile(r"/models$"))
    assert lab("GET", "/api/models/goes_away").status_code == 404


def test_default_settings_change_by_the_dialog(lab: Controller, visit: Any) -> None:
    page = visit(lab, "/models")
    page.get_by_role("button", name="Default settings").click()
    page.get_by_label("max_model_size_mb").fill("250")
    with page.expect_navigation():
        page.get_by_role("dialog", name="Default settings").get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("The default settings are saved.")
    page.get_by_role("button", name="Default settings").click()
    expect(page.get_by_text("Set by admin; the default is 100.")).to_be_visible()
    found = {s["name"]: s["value"] for s in lab("GET", "/api/default-settings").json()}
    assert (found["max_model_size_mb"], found["max_inputs"]) == (250, 10_000_000)


def test_texts_of_others_stay_texts(lab: Controller, visit: Any, tmp_path: Path, xss: list[str]) -> None:
    visit.expects("422")  # a search cannot name such fields
    plain = list(dict.fromkeys(text for text in xss if "," not in text and text.isprintable()))
    file = linear([1.0] * len(plain), tmp_path / "x.onnx")
    answer = lab(
        "POST",
        "/api/models/onnx",
        data=file.read_bytes(),
        params={"name": "hostile", "target": plain[0], "features": ",".join(plain), "description": " ".join(plain)},
    )
    assert answer.status_code == 201, answer.text
    assert lab("PUT", "/api/models/hostile/card", {"card": "\n".join(plain)}).status_code == 200
    page = visit(lab, "/models")
    expect(page.get_by_role("link", name="hostile", exact=True)).to_be_visible()
    page.goto(f"{lab.url}/models/hostile")
    expect(page.locator("h1 + .sub")).to_contain_text(plain[0])
    expect(page.locator(".card-text")).to_contain_text(plain[2])
    assert page.locator("label[for=t-1]").inner_text() == plain[0]
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("[data-problem]:not([hidden]), output > *").first).to_be_visible(timeout=30_000)


def test_who_may_not_upload_is_told_which_role_may(lab: Controller, visit: Any) -> None:
    page = as_user(lab, visit, "ann", "/models")
    expect(page.get_by_role("button", name="Upload ONNX Model")).to_have_count(0)
    expect(page.get_by_text("mltk_model_admin").first).to_be_visible()
    visit.expects("403")
    assert lab("POST", "/api/users", {"name": "vic", "roles": ["viewer"]}).status_code == 201
    page = as_user(lab, visit, "vic", "/models")
    expect(page.get_by_text("It takes the capability search")).to_be_visible()
