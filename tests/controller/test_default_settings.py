"""Default settings are kept, checked and obeyed; the controller's own are shown with their source, never secrets."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Controller, Make
from onnx_files import linear

from labdock_controller.effective_settings import SECRET, effective
from labdock_controller.settings import Settings


def change(controller: Controller, **values: float | None) -> Any:
    return controller("PUT", "/api/default-settings", {"values": values})


def setting(controller: Controller, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in controller("GET", "/api/default-settings").json() if s["name"] == name)
    return found


def test_a_smaller_size_refuses_a_file_at_once_and_outlives_the_controller(
    make_controller: Make, tmp_path: Path
) -> None:
    controller = make_controller()
    file = linear([1.0] * 40, tmp_path / "m.onnx").read_bytes()
    address = "/api/models/onnx?name=m&target=y&features=" + ",".join(f"f{n}" for n in range(40))
    first = controller("POST", address, data=file)
    assert first.status_code == 201, first.text
    assert change(controller, max_model_size_mb=0.0001).status_code == 422
    assert change(controller, max_model_size_mb=0.001).status_code == 200  # 1000 bytes
    assert len(file) < 1000
    big = linear([1.0] * 400, tmp_path / "big.onnx").read_bytes()
    assert len(big) > 1100
    refused = controller("POST", "/api/models/onnx/check", data=big)
    assert refused.status_code == 422
    assert "max_model_size_mb" in refused.text
    controller.end()
    again = make_controller(home_of=controller)
    kept = setting(again, "max_model_size_mb")
    assert (kept["value"], kept["changed_by"]) == (0.001, "admin")
    assert again("POST", "/api/models/onnx/check", data=big).status_code == 422
    assert change(again, max_model_size_mb=None).status_code == 200
    assert again("POST", "/api/models/onnx/check", data=big).status_code == 200


def test_an_environment_is_told_what_was_changed(shared_controller: Controller) -> None:
    shared_controller.start("before")
    assert change(shared_controller, max_fit_time=77, max_inputs=5000).status_code == 200
    shared_controller.start("after")
    told = {p.environ()["LABDOCK_ENVIRONMENT"]: p.environ() for p in shared_controller.processes()}
    assert told["after"]["LABDOCK_MAX_FIT_TIME"] == "77"
    assert told["after"]["LABDOCK_MAX_INPUTS"] == "5000"
    assert "LABDOCK_MAX_SCORE_TIME" not in told["after"]
    assert "LABDOCK_MAX_FIT_TIME" not in told["before"]


@pytest.mark.parametrize("values", [{"max_fit_time": 0}, {"max_fit_time": 1.5}, {"max_ft_time": 10}])
def test_what_makes_no_sense_changes_nothing(shared_controller: Controller, values: dict[str, float]) -> None:
    before = shared_controller("GET", "/api/default-settings").json()
    refused = change(shared_controller, max_score_time=33, **values)
    assert refused.status_code == 422
    assert refused.json()["remedy"]
    assert shared_controller("GET", "/api/default-settings").json() == before


def test_who_may_not_configure_reads_and_changes_nothing(shared_controller: Controller) -> None:
    made = shared_controller("POST", "/api/tokens", {"name": "reader", "capabilities": ["search"]}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert shared_controller("GET", "/api/default-settings", headers=headers).status_code == 200
    refused = shared_controller("PUT", "/api/default-settings", {"values": {"max_inputs": 1}}, headers=headers)
    assert refused.status_code == 403
    assert shared_controller("GET", "/api/settings", headers=headers).status_code == 403


def test_each_setting_says_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labdock.toml").write_text('idle_minutes = 30\nsmtp_host = "mail.example"\n')
    (tmp_path / "db").write_text("postgresql://someone:hidden-secret@db/labdock\n")
    monkeypatch.setenv("LABDOCK_DATABASE_URL_FILE", str(tmp_path / "db"))
    monkeypatch.setenv("LABDOCK_SMTP_PORT", "2525")
    found = {s.name: s for s in effective(Settings(home=tmp_path, restarts=9))}
    sources = {name: found[name].source for name in ("idle_minutes", "database_url", "smtp_port", "restarts", "port")}
    assert sources == {
        "idle_minutes": "labdock.toml",
        "database_url": "LABDOCK_DATABASE_URL_FILE",
        "smtp_port": "LABDOCK_SMTP_PORT",
        "restarts": "argument",
        "port": "default",
    }
    assert (found["idle_minutes"].value, found["smtp_port"].value, found["restarts"].value) == (30, 2525, 9)
    assert found["database_url"].value == SECRET
    assert "hidden-secret" not in repr(found)


def test_the_audit_log_is_searched_and_paged(shared_controller: Controller) -> None:
    for number in range(5):
        shared_controller("POST", "/api/tokens", {"name": f"audited_{number}"})
    shared_controller("DELETE", "/api/tokens/audited_0")
    shared_controller("DELETE", "/api/tokens/audited%_0")
    found = shared_controller("GET", "/api/audit?action=audited_0").json()
    assert [(e["action"], e["status"]) for e in found] == [("DELETE /api/tokens/{token}", 204)]
    failed = shared_controller("GET", "/api/audit?action=AUDITED&failed=true").json()
    assert [e["object"] for e in failed] == ["/api/tokens/audited%_0"]
    seen: list[int] = []
    before = ""
    while page := shared_controller("GET", f"/api/audit?action=post%20/api/tokens&count=2{before}").json():
        seen += [e["id"] for e in page]
        before = f"&before={seen[-1]}"
    assert len(seen) >= 5
    assert seen == sorted(set(seen), reverse=True)
