"""Every error of docker-py and its transport has one meaning of ours."""

import inspect
from collections.abc import Iterator

import docker.errors
import pytest
import requests
import urllib3.exceptions

from labdock.errors import (
    DiskFull,
    ImageMissing,
    InvalidOptions,
    LabdockError,
    LaunchError,
    NotFound,
    RuntimeUnavailable,
)
from labdock_controller.runtimes.docker.errors import TABLE, named, translate, translated


def vendor_classes() -> Iterator[type[Exception]]:
    for _, value in inspect.getmembers(docker.errors, inspect.isclass):
        if issubclass(value, Exception) and value.__module__ == "docker.errors":
            yield value


def api_error(status: int, said: str, cls: type[docker.errors.APIError] = docker.errors.APIError) -> Exception:
    response = requests.Response()
    response.status_code = status
    return cls("engine", response=response, explanation=said)


@pytest.mark.parametrize("cls", list(vendor_classes()), ids=lambda cls: cls.__name__)
def test_each_class_of_docker_py_is_in_the_table_by_name(cls: type[Exception]) -> None:
    assert named(cls) in TABLE, f"docker-py raises {cls.__name__}: say in TABLE what it means"


@pytest.mark.parametrize(
    ("status", "said", "expected", "words"),
    [
        (500, "write /var/lib/docker/tmp/x: no space left on device", DiskFull, "disk is full"),
        (500, 'could not select device driver "" with capabilities: [[gpu]]', LaunchError, "no GPU"),
        (500, "Bind for 0.0.0.0:80 failed: port is already allocated", LaunchError, "port is taken"),
        (500, "listen tcp4 127.0.0.1:80: bind: address already in use", LaunchError, "port is taken"),
        (500, "could not find an available, non-overlapping IPv4 address pool: all predefined address pools have been"
              " fully subnetted", LaunchError, "no address range"),
        (400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", InvalidOptions, "cpus"),
        (400, "Minimum memory limit allowed is 6MB", InvalidOptions, "memory_mb"),
        (409, "can not get logs from container which is dead or marked for removal", NotFound, "no such object"),
        (503, "shutting down", RuntimeUnavailable, "not ready"),
        (403, "authorization denied by plugin: access denied", LaunchError, "may not"),
        (418, "something new", LaunchError, "something new"),
    ],
)  # fmt: skip
def test_what_the_engine_says(status: int, said: str, expected: type[LabdockError], words: str) -> None:
    error = translate(api_error(status, said))
    assert type(error) is expected
    assert words in error.message
    assert error.remedy


def test_missing_things() -> None:
    assert type(translate(api_error(404, "No such container: x", docker.errors.NotFound))) is NotFound
    assert type(translate(api_error(404, "No such image: x", docker.errors.ImageNotFound))) is ImageMissing


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.exceptions.ConnectionError("refused"), "unreachable"),
        (requests.exceptions.ReadTimeout("slow"), "in time"),
        (urllib3.exceptions.ProtocolError("cut"), "unreachable"),
        (docker.errors.DockerException("fetching the version: PermissionError(13, 'Permission denied')"), "this user"),
        (docker.errors.TLSParameterError("bad"), "settings"),
        (BrokenPipeError("gone"), "unreachable"),
        (TimeoutError("slow"), "unreachable"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_engine_out_of_reach(error: Exception, words: str) -> None:
    found = translate(error)
    assert type(found) is RuntimeUnavailable
    assert words in found.message


def test_errors_of_ours_and_bugs_pass_and_the_environment_is_named() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError
    with pytest.raises(ImageMissing, match="ours"), translated():
        raise ImageMissing("ours")
    with pytest.raises(LaunchError) as caught, translated("0123456789ab"):
        raise api_error(500, "x")
    assert caught.value.details["environment"] == "0123456789ab"
