"""Settings of the controller: arguments, then `LABDOCK_*` variables, then `LABDOCK_*_FILE`, then `labdock.toml`.

`LABDOCK_DATABASE_URL_FILE=/run/secrets/db` reads the value of `database_url` from that file, for every setting.
"""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from labdock.errors import InvalidOptions
from labdock.home import home as default_home
from labdock.home import run_folder

PREFIX = "LABDOCK_"
SETTINGS_FILE = "labdock.toml"


class SecretFiles(PydanticBaseSettingsSource):
    """`LABDOCK_X_FILE`: the setting `x` is the content of that file, without the final newline."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidOptions(
                f"{variable} names {path}, which cannot be read: {error}.",
                remedy=f"Make the file readable for this user or unset {variable}.",
                setting=field_name,
            ) from None

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """Every setting, with the default that fits one person's machine."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    home: Path = Field(default_factory=default_home, description="folder of everything that is kept")
    run: Path | None = Field(default=None, description="folder of sockets and tokens; short, on tmpfs")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8420, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    hosts: list[str] = Field(default=[], description="further host names under which browsers reach the controller")
    public_url: str = Field(default="", description="the controller's address behind a proxy, for links")
    tls: bool = Field(default=False, description="speak HTTPS; with a certificate of its own where none is given")
    tls_certificate: Path | None = Field(default=None, description="PEM file; with it the controller speaks HTTPS")
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's key")
    runtime: str = Field(default="local", description="where environments run unless a request says otherwise")
    database_url: SecretStr = Field(default=SecretStr(""), description="SQLAlchemy URL; SQLite in the home if empty")
    start_timeout: float = Field(default=120, gt=0, description="seconds in which an environment must become ready")
    stop_grace: float = Field(default=10, ge=0, description="seconds from asking an environment to end to killing it")
    reconcile_interval: float = Field(default=3, gt=0, description="seconds between looks at what runs")
    restarts: int = Field(default=3, ge=0, description="times an environment that died is started again by itself")
    parallel_starts: int = Field(
        default=0, ge=0, description="environments starting at once; 0: one a core, at least 2"
    )
    environments_per_user: int = Field(default=20, ge=0, description="running environments a user may own; 0: no limit")
    idle_minutes: float = Field(default=0, ge=0, description="stop an environment idle this long; 0: never")
    idle_warning_minutes: float = Field(default=10, ge=0, description="warn this long before an idle stop")
    session_hours: float = Field(default=168, gt=0, description="hours until a browser must sign in again")
    oidc_issuer: str = Field(default="", description="identity provider (OpenID Connect); empty: none")
    oidc_client_id: str = Field(default="labdock", description="what the provider knows Labdock as")
    oidc_client_secret: SecretStr = Field(default=SecretStr(""), description="its secret; empty for a public client")
    oidc_scopes: str = Field(default="openid profile email", description="what the provider is asked for")
    oidc_title: str = Field(default="single sign-on", description="what the sign-in page calls the provider")
    oidc_name_claim: str = Field(default="preferred_username", description="claim that a new user is named after")
    oidc_roles_claim: str = Field(default="groups", description="claim that holds the provider's groups or roles")
    oidc_roles: dict[str, list[str]] = Field(default={}, description="the provider's group to our roles, as JSON")
    oidc_default_roles: list[str] = Field(default=[], description="roles of everybody whom the provider knows")
    oidc_domains: list[str] = Field(default=[], description="domains of verified e-mail addresses; empty: any")
    body_seconds: float = Field(default=30, gt=0, description="seconds a request's body may pause or trickle")
    max_body_mb: int = Field(default=8192, gt=0, description="megabytes of one frame")
    body_rate: int = Field(default=16_384, gt=0, description="bytes a second that a slow body must reach")
    smtp_host: str = Field(default="", description="mail server of alerts; empty: alerts send no mail")
    smtp_port: int = Field(default=25, ge=1, le=65535, description="its port")
    smtp_from: str = Field(default="labdock@localhost", description="sender of alerts' mails")
    webhook_hosts: list[str] = Field(default=[], description="hosts with inner addresses that webhooks may call")
    log_level: str = Field(default="info", description="debug, info, warning or error")
    log_format: str = Field(default="auto", pattern="auto|json|text", description="auto: text on a terminal")

    @field_validator("home", "run", "tls_certificate", "tls_key", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path else path

    @property
    def run_folder(self) -> Path:
        """Sockets, tokens and spooled frames: `run`, else what belongs to `home`."""
        return self.run or run_folder(self.home)

    @property
    def store_url(self) -> str:
        return self.database_url.get_secret_value() or f"sqlite:///{self.home / 'labdock.sqlite3'}"

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certificate else "http"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = init_settings().get("home")
        file = Path(given or default_home()).expanduser() / SETTINGS_FILE
        toml = TomlConfigSettingsSource(settings_cls, file)
        return init_settings, env_settings, SecretFiles(settings_cls), toml
