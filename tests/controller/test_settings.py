"""Settings: where they come from, which wins, and that each is documented."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from labdock.errors import InvalidOptions
from labdock_controller.__main__ import main
from labdock_controller.settings import Settings

DOCUMENTED = Path(__file__).parents[2] / "docs" / "controller.md"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `LABDOCK_(\w+)` \|([^|]*)\|[^|]+\|$", DOCUMENTED.read_text(), re.MULTILINE)
    documented = {name.lower(): default for name, default in rows}
    assert set(documented) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        shown = re.findall(r"`(.*?)`", documented[name])
        if shown and field.default_factory is None:
            assert shown[0] == str(field.default), name


def test_arguments_win_over_variables_over_secret_files_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labdock.toml").write_text('port = 1\nhost = "a"\nruntime = "file"\nrestarts = 7\n')
    (tmp_path / "secret").write_text("b\n")
    monkeypatch.setenv("LABDOCK_HOME", str(tmp_path))
    monkeypatch.setenv("LABDOCK_PORT", "2")
    monkeypatch.setenv("LABDOCK_HOST_FILE", str(tmp_path / "secret"))
    settings = Settings(runtime="argument")
    assert (settings.port, settings.host, settings.runtime, settings.restarts) == (2, "b", "argument", 7)
    assert settings.home == tmp_path
    assert Settings(home=tmp_path / "other").restarts == 3


def test_a_secret_is_read_from_its_file_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("postgresql://labdock:canary-3e1@db/labdock\n")
    monkeypatch.setenv("LABDOCK_DATABASE_URL_FILE", str(tmp_path / "url"))
    settings = Settings()
    assert settings.store_url == "postgresql://labdock:canary-3e1@db/labdock"
    assert "canary-3e1" not in repr(settings)
    monkeypatch.setenv("LABDOCK_DATABASE_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(InvalidOptions, match="LABDOCK_DATABASE_URL_FILE"):
        Settings()


@pytest.mark.parametrize(("name", "value"), [("port", 70_000), ("start_timeout", 0), ("log_format", "xml")])
def test_wrong_values_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_the_command_names_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LABDOCK_RESTARTS", "many")
    assert main(["serve"]) == 1
    said = capsys.readouterr().err
    assert "restarts" in said
    assert "Traceback" not in said
