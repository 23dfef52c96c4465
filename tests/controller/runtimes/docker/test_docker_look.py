"""What a container's description means. The descriptions are an Engine 20.10's, cut to what is read."""

import pytest

from labdock_controller.runtimes.base import State, Usage
from labdock_controller.runtimes.docker import look

CREATED = "2026-11-24T11:00:00.5Z"
CREATED_EPOCH = 1_795_518_000.5


def inspected(status: str, **state: object) -> dict[str, object]:
    return {
        "Created": CREATED,
        "Config": {"Labels": {"dev.labdock.environment": "0123456789ab", "dev.labdock.memory-mb": "512"}},
        "State": {
            "Status": status, "OOMKilled": False, "ExitCode": 0, "Error": "",
            "StartedAt": "2026-11-24T11:00:01.123456789Z", **state,
        },
    }  # fmt: skip


def test_time() -> None:
    assert look.epoch("2026-11-24T11:00:01.250000000Z") == CREATED_EPOCH + 0.75
    assert look.epoch("2026-11-24T11:00:01Z") == CREATED_EPOCH + 0.5
    assert look.epoch("0001-01-01T00:00:00Z") is None
    assert look.epoch(None) is None


@pytest.mark.parametrize("status", ["running", "paused", "restarting"])
def test_running(status: str) -> None:
    seen = look.observed(inspected(status), now=0)
    assert (seen.state, seen.exit_code, seen.cause) == (State.RUNNING, None, "")
    assert seen.started == pytest.approx(CREATED_EPOCH + 0.6234567)


def test_running_out_of_memory_is_said_while_it_runs() -> None:
    seen = look.observed(inspected("running", OOMKilled=True), now=0)
    assert (seen.state, seen.exit_code, seen.cause) == (State.RUNNING, None, "memory limit 512 MiB reached")


def test_created_is_starting_for_a_while_only() -> None:
    created = inspected("created", StartedAt="0001-01-01T00:00:00Z")
    assert look.observed(created, now=CREATED_EPOCH + 5).state is State.STARTING
    abandoned = look.observed(created, now=CREATED_EPOCH + 61)
    assert (abandoned.state, abandoned.started) == (State.EXITED, None)
    assert "never started" in abandoned.cause


def test_created_with_an_error_is_over_at_once() -> None:
    taken = inspected("created", ExitCode=128, Error="driver failed: port is already allocated")
    seen = look.observed(taken, now=CREATED_EPOCH + 1)
    assert (seen.state, seen.exit_code) == (State.EXITED, 128)
    assert "port is already allocated" in seen.cause


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ({"OOMKilled": True, "ExitCode": 7}, "memory limit 512 MiB reached"),
        ({"OOMKilled": True, "ExitCode": 137}, "memory limit 512 MiB reached"),
        ({"ExitCode": 137}, "it was killed (SIGKILL)"),
        ({"ExitCode": 143}, "it was ended by SIGTERM"),
        ({"ExitCode": 127}, "its program cannot be run"),
        ({"ExitCode": 1}, "it ended by itself with exit code 1"),
        ({"ExitCode": 0}, "it was asked to end, by someone or by a restart of the engine"),
        ({"ExitCode": 128, "Error": "mkdir: no space left on device"}, "the engine's disk is full"),
    ],
)
def test_endings(state: dict[str, object], cause: str) -> None:
    seen = look.observed(inspected("exited", **state), now=CREATED_EPOCH)
    assert seen.state is State.EXITED
    assert seen.exit_code == state["ExitCode"]
    assert seen.cause.startswith(cause)
    assert seen.remedy


def test_usage_leaves_out_file_cache_on_both_cgroup_versions() -> None:
    cpu = {"cpu_usage": {"total_usage": 2_500_000_000}}
    first = {"usage": 300, "limit": 1000, "stats": {"total_inactive_file": 100, "inactive_file": 7}}
    second = {"usage": 300, "limit": 1000, "stats": {"inactive_file": 100}}
    for memory in (first, second):
        assert look.usage({"cpu_stats": cpu, "memory_stats": memory}) == Usage(2.5, 200, 1000)
    assert look.usage({"cpu_stats": cpu, "memory_stats": {}}) is None
