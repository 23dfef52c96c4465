"""What the engine's answers mean: a container's state, its end in words, its figures."""

from datetime import UTC, datetime
from typing import Any

from labdock_controller.runtimes.base import Observed, State, Usage
from labdock_controller.runtimes.docker.profile import ENVIRONMENT, MEMORY

# A container is created and started in one go; one that is still only created after this long was abandoned.
CREATED_SECONDS = 60.0
RUNNING = {"running", "paused", "restarting"}
SEE_LOG = "See the log, then start it again."
SIGNALS = {129: "SIGHUP", 130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}


def epoch(text: str | None) -> float | None:
    """The engine's time (RFC 3339 with nanoseconds) as epoch seconds; None for its zero time."""
    if not text or text.startswith("0001-"):
        return None
    whole, _, rest = text.partition(".")
    fraction = rest.rstrip("Z").split("+")[0]
    return datetime.fromisoformat(whole.rstrip("Z")).replace(tzinfo=UTC).timestamp() + float(f"0.{fraction or 0}")


def observed(inspected: dict[str, Any], now: float) -> Observed:
    """One container, from its full description."""
    labels = inspected["Config"]["Labels"]
    state = inspected["State"]
    environment, status = labels[ENVIRONMENT], state["Status"]
    started = epoch(state.get("StartedAt"))
    if status in RUNNING:
        out_of_memory = ending(state, _memory(labels)) if state.get("OOMKilled") else ("", "")
        return Observed(environment, State.RUNNING, started, None, *out_of_memory)
    if status == "created":
        age = now - (epoch(inspected.get("Created")) or now)
        if age < CREATED_SECONDS and not state.get("Error"):
            return Observed(environment, State.STARTING)
    cause, remedy = ending(state, _memory(labels))
    return Observed(environment, State.EXITED, started, int(state.get("ExitCode", 0)), cause, remedy)


def _memory(labels: dict[str, str]) -> int:
    return int(labels.get(MEMORY) or 0)


def ending(state: dict[str, Any], memory_mb: int) -> tuple[str, str]:
    """Cause and remedy of a container's end. `OOMKilled` counts, not the exit code: the two are independent."""
    code, error = int(state.get("ExitCode", 0)), str(state.get("Error") or "")
    if state.get("OOMKilled"):
        return f"memory limit {memory_mb} MiB reached", "Raise it or send fewer rows."
    if "no space left on device" in error:
        return "the engine's disk is full", "Free space in the engine's data folder, then start it again."
    if error:
        return f"the engine could not run it: {error}", "See `labdock doctor`, then start it again."
    if state.get("Status") == "created":
        return "it was created but never started (controller or engine ended in between)", "Start it again."
    if code in {126, 127}:
        return f"its program cannot be run (exit code {code})", "Build the image again: labdock images build NAME."
    if code == 0:  # its supervisor ends like this when it is asked to, and never by itself
        return "it was asked to end, by someone or by a restart of the engine", "Start it again."
    if code == 137:
        return "it was killed (SIGKILL), by someone or with the engine", "Start it again."
    if code in SIGNALS:
        return f"it was ended by {SIGNALS[code]}", SEE_LOG
    return f"it ended by itself with exit code {code}", SEE_LOG


def usage(stats: dict[str, Any]) -> Usage | None:
    """CPU and memory from one sample; None for a container that does not run (the engine answers zeros)."""
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    cpu = stats.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0)
    return Usage(cpu / 1e9, max(0, memory["usage"] - cache), memory.get("limit"))
