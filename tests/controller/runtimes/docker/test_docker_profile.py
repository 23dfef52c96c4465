"""The fixed profile, compared as the dictionaries that the engine gets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labdock_controller.images import Image
from labdock_controller.runtimes.base import EnvironmentSpec, Limits
from labdock_controller.runtimes.docker import profile
from labdock_controller.runtimes.docker.profile import Place, container_config, effective_limits
from labdock_controller.runtimes.docker.settings import DockerSettings

ID = "0123456789ab"
SPEC = EnvironmentSpec(
    id=ID, name="__dev__", owner="alice", mode="dev", image="golden-cpu", notebooks=Path("/n"), logs=Path("/l"),
    run=Path("/dev/shm/labdock/0123456789ab"), token="canary", base_url="/environments/__dev__/jupyter/",
    limits=Limits(cpus=1.5, memory_mb=512, pids=100, shm_mb=64), variables={"LABDOCK_MAX_FIT_TIME": "60"},
)  # fmt: skip
IMAGE = Image("golden-cpu", "Golden CPU", "", "labdock/golden-cpu:latest", limits=Limits(memory_mb=8192))
PLACE = Place(controller="c0ffee000000", cpus=4, network="labdock-c0ffee000000")
MIB = 2**20


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> DockerSettings:
    for name in DockerSettings.model_fields:
        monkeypatch.delenv(f"LABDOCK_DOCKER_{name.upper()}", raising=False)
    return DockerSettings()


def test_the_whole_container(settings: DockerSettings) -> None:
    assert container_config(SPEC, IMAGE, "sha256:abc", PLACE, settings) == {
        "Image": "sha256:abc",
        "User": "1001:1001",
        "Hostname": f"labdock-{ID}",
        "Env": [
            "LABDOCK_BASE_URL=/environments/__dev__/jupyter/",
            "LABDOCK_ENVIRONMENT=__dev__",
            f"LABDOCK_ENVIRONMENT_ID={ID}",
            "LABDOCK_MAX_FIT_TIME=60",
            "LABDOCK_MODE=dev",
            "LABDOCK_WORKERS=1",
            "LABDOCK_WORKER_MEMORY_MB=409",
            "OMP_NUM_THREADS=1",
        ],
        "Labels": {
            "dev.labdock.controller": "c0ffee000000",
            "dev.labdock.environment": ID,
            "dev.labdock.owner": "alice",
            "dev.labdock.name": "__dev__",
            "dev.labdock.mode": "dev",
            "dev.labdock.image": "golden-cpu",
            "dev.labdock.memory-mb": "512",
        },
        "ExposedPorts": {},
        "HostConfig": {
            "ReadonlyRootfs": True,
            "Tmpfs": {
                "/tmp": "rw,exec,nosuid,nodev,mode=1777,size=1024m",
                "/home/labdock": "rw,exec,nosuid,nodev,uid=1001,gid=1001,mode=0700,size=512m",
            },
            "Mounts": [
                {
                    "Type": "volume",
                    "Source": f"labdock-{ID}",
                    "Target": "/notebooks",
                    "VolumeOptions": {
                        "Labels": {"dev.labdock.controller": "c0ffee000000", "dev.labdock.environment": ID}
                    },
                },
                {
                    "Type": "bind",
                    "Source": "/dev/shm/labdock/0123456789ab",
                    "Target": "/run/labdock",
                    "BindOptions": {"Propagation": "rprivate"},
                },
            ],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Privileged": False,
            "IpcMode": "private",
            "NetworkMode": "labdock-c0ffee000000",
            "NanoCpus": 1_500_000_000,
            "Memory": 512 * MIB,
            "MemorySwap": 512 * MIB,
            "PidsLimit": 100,
            "ShmSize": 64 * MIB,
            "Ulimits": [
                {"Name": "nofile", "Soft": 8192, "Hard": 8192},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            "LogConfig": {"Type": "local", "Config": {"max-size": "10m", "max-file": "3"}},
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": False,
        },
    }


def test_a_remote_engine_gets_ports_of_its_choice_and_no_folder(settings: DockerSettings) -> None:
    place = replace(PLACE, publish="0.0.0.0")
    config = container_config(SPEC, IMAGE, "sha256:abc", place, settings)
    any_port = [{"HostIp": "0.0.0.0", "HostPort": ""}]
    assert config["HostConfig"]["PortBindings"] == {"8421/tcp": any_port, "8422/tcp": any_port}
    assert config["ExposedPorts"] == {"8421/tcp": {}, "8422/tcp": {}}
    assert [mount["Type"] for mount in config["HostConfig"]["Mounts"]] == ["volume"]
    assert config["HostConfig"]["Tmpfs"]["/run/labdock"].startswith("rw,exec,nosuid,nodev,uid=1001,gid=1001,mode=0700")
    assert {"LABDOCK_API_LISTEN=0.0.0.0:8421", "LABDOCK_JUPYTER_LISTEN=0.0.0.0:8422"} <= set(config["Env"])

    prod = container_config(replace(SPEC, mode="prod"), IMAGE, "sha256:abc", place, settings)
    assert prod["HostConfig"]["PortBindings"] == {"8421/tcp": any_port}


def test_a_gpu_is_asked_for_by_image_or_by_limit(settings: DockerSettings) -> None:
    def requests(image: Image, gpus: int) -> object:
        spec = replace(SPEC, limits=replace(SPEC.limits, gpus=gpus))
        return container_config(spec, image, "sha256:abc", PLACE, settings)["HostConfig"].get("DeviceRequests")

    def request(count: int) -> list[dict[str, object]]:
        return [{"Driver": "", "Count": count, "DeviceIDs": None, "Capabilities": [["gpu"]]}]

    gpu_image = replace(IMAGE, gpu=True)
    assert requests(IMAGE, 0) is None
    assert requests(IMAGE, 2) == request(2)
    assert requests(gpu_image, 0) == request(1)
    assert requests(gpu_image, 3) == request(3)


def test_limits_come_from_the_request_then_the_image_then_the_settings(settings: DockerSettings) -> None:
    image = replace(IMAGE, limits=Limits(cpus=8, memory_mb=8192))
    assert effective_limits(Limits(memory_mb=100), image, settings, cpus=2) == Limits(
        cpus=2, memory_mb=100, pids=512, shm_mb=256
    )  # the image's 8 CPUs are a default: no more than the machine has
    assert effective_limits(Limits(), image, settings, cpus=16) == Limits(cpus=8, memory_mb=8192, pids=512, shm_mb=256)


def test_the_token_is_nowhere_in_what_the_engine_gets(settings: DockerSettings) -> None:
    for place in (PLACE, replace(PLACE, publish="0.0.0.0")):
        assert "canary" not in json.dumps(container_config(SPEC, IMAGE, "sha256:abc", place, settings))


def test_a_variable_of_the_spec_cannot_replace_what_makes_the_environment(settings: DockerSettings) -> None:
    spec = replace(SPEC, variables={"LABDOCK_ENVIRONMENT_ID": "ffffffffffff", "LABDOCK_WORKERS": "7"})
    environment = container_config(spec, IMAGE, "sha256:abc", PLACE, settings)["Env"]
    assert f"LABDOCK_ENVIRONMENT_ID={ID}" in environment
    assert "LABDOCK_WORKERS=7" in environment


@pytest.mark.parametrize(
    ("text", "expected"),
    [(ID, True), ("0123456789AB", False), ("0123456789a", False), ("../../../etc", False), (ID + "\n", False)],
)
def test_only_ids_become_paths(text: str, expected: bool) -> None:
    assert profile.is_id(text) is expected
