"""Settings of the runtime: `LABDOCK_DOCKER_*` variables, then the table `[docker]` of `labdock.toml`."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from labdock.errors import InvalidOptions


class DockerSettings(BaseSettings):
    """Every setting, with the default that fits one machine with its own engine."""

    model_config = SettingsConfigDict(env_prefix="LABDOCK_DOCKER_", extra="ignore", frozen=True)

    host: str = Field(default="", description="the engine's address; empty: DOCKER_HOST, else this machine's socket")
    sockets: Literal["auto", "yes", "no"] = Field(
        default="auto", description="share Unix sockets with containers; auto: where the engine runs on this machine"
    )
    publish_address: str = Field(
        default="", description="address that ports are published on where sockets are not shared; empty: loopback of "
        "this machine's engine, every address of another's"
    )  # fmt: skip
    image_folders: list[Path] = Field(default=[], description="further folders with <name>/image.toml")
    cpus: float = Field(default=2.0, gt=0, description="CPUs of an environment whose image states none")
    memory_mb: int = Field(default=4096, ge=64, description="memory of an environment whose image states none, MiB")
    pids: int = Field(default=512, ge=32, description="processes and threads where the image states none")
    shm_mb: int = Field(default=256, ge=1, description="shared memory where the image states none, MiB")
    tmp_mb: int = Field(
        default=1024, ge=16, description="folder for temporary files, MiB; counts as the environment's memory when used"
    )
    home_mb: int = Field(default=512, ge=16, description="the home folder, MiB; counts as memory when used")
    open_files: int = Field(default=8192, ge=1024, description="open files of one process")
    log_mb: int = Field(default=10, ge=1, description="size of one log file, MiB; three are kept")
    egress: bool = Field(default=True, description="let environments in dev mode reach other hosts (pip)")

    @classmethod
    def load(cls, home: Path) -> "DockerSettings":
        """From the variables and `home`'s settings file. Raises `InvalidOptions`."""
        try:
            table = tomllib.loads((home / "labdock.toml").read_text(encoding="utf-8")).get("docker", {})
        except (FileNotFoundError, NotADirectoryError):
            table = {}
        except (OSError, ValueError) as error:
            raise InvalidOptions(f"labdock.toml cannot be read: {error}.", remedy="Correct the file.") from None
        try:
            return cls(**table)
        except ValidationError as error:
            first = error.errors()[0]
            name = "_".join(str(part) for part in first["loc"])
            raise InvalidOptions(
                f"The setting LABDOCK_DOCKER_{name.upper()} is wrong: {first['msg']}.",
                remedy="See docs/docker.md for the settings.",
                setting=name,
            ) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the file's table comes in as arguments: variables win

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
