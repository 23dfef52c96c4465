"""Network flows of a small company's day, made from a seed, in the fields of Splunk Stream.

People browse, devices call home, servers are backed up; and, unless told otherwise, one camera has been infected: it
calls a control server that often does not answer, and searches the Internet for telnet ports in bursts. `botnet` marks
its flows. Like Zeek's, these flows have no measured round trip: `client_rtt` is the duration in microseconds. No
host or flow is real; outside addresses are those set aside for documentation and benchmarks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Random = np.random.Generator
MONDAY = 1_767_571_200  # 2026-01-05 00:00 UTC, as in `windows_events`
CAMERA = "10.20.3.17"
CONTROL = "203.0.113.66"
TEXT = ("src_ip", "dest_ip", "transport", "app", "protocol_stack", "conn_state")
SERVERS = ("10.20.0.10", "10.20.0.11", "10.20.0.20")


@dataclass(frozen=True)
class Kind:
    """A kind of flow: where to, and how large and long (medians of log-normal values)."""

    port: int
    transport: str
    app: str
    bytes_in: float
    bytes_out: float
    seconds: float
    spread: float = 1.0
    state: str = "SF"


WEB = Kind(443, "tcp", "ssl", 2_600, 14_000, 18.0)
PLAIN = Kind(80, "tcp", "http", 900, 6_000, 3.0)
NAMES = Kind(53, "udp", "dns", 70, 180, 0.02, 0.4)
FILES = Kind(445, "tcp", "smb", 5_200, 21_000, 40.0)
DIRECTORY = Kind(389, "tcp", "ldap", 1_400, 3_200, 1.2, 0.6)
BACKUP = Kind(22, "tcp", "ssh", 90_000_000, 900_000, 900.0, 0.3)
REPORT = Kind(8883, "tcp", "ssl", 900, 700, 55.0, 0.3)
CLOCK = Kind(123, "udp", "ntp", 76, 76, 0.03, 0.1)
CALL = Kind(6667, "tcp", "", 140, 0, 1.0, 0.5, "S0")
ANSWERED = Kind(6667, "tcp", "irc", 420, 380, 2.0, 0.5, "S3")
SEARCH = Kind(23, "tcp", "", 60, 0, 0.4, 0.5, "S0")


def generate(seed: int, workstations: int = 16, hours: int = 24, attack: bool = True) -> pd.DataFrame:
    """Flows in order of time. The same arguments give the same flows.

    `attrs["infection"]` tells device, control server, start and end (epoch seconds), or is None. Without `attack`
    everything else stays the same, but that an infected camera does not report. Raises `ValueError` for no
    workstation or no hour.
    """
    if workstations < 1 or hours < 1:
        raise ValueError("generate needs at least 1 workstation and 1 hour")
    random = np.random.default_rng([seed, workstations, hours])
    parts = [*_people(random, workstations, hours), *_devices(random, hours), *_servers(random, hours)]
    infection = None
    if attack:
        bad, infection = _infection(np.random.default_rng([seed, workstations, hours, 1]), hours)
        parts += bad
    flows = pd.concat(parts, ignore_index=True).sort_values(["_time", "src_ip", "src_port"], kind="stable")
    if infection:  # the malware ends the camera's own program
        silent = (flows["src_ip"] == CAMERA) & flows["_time"].between(infection["start"], infection["end"])
        flows = flows[~silent | (flows["botnet"] == 1)]
    flows = flows.reset_index(drop=True).astype(dict.fromkeys(TEXT, "str"))
    flows.attrs["infection"] = infection
    return flows


def _people(random: Random, workstations: int, hours: int) -> list[pd.DataFrame]:
    """Browsing in pages: a name, then several connections; more at work than at night."""
    parts = []
    sites = [f"198.51.100.{n}" for n in range(1, 200)]
    favour = random.zipf(1.4, len(sites)).astype(float)
    favour /= favour.sum()
    for n in range(workstations):
        pages = _moments(random, hours, 22.0 * random.uniform(0.5, 1.6))
        source = f"10.20.1.{n + 11}"
        connections = np.repeat(pages, random.poisson(2.2, len(pages)) + 1)
        times = connections + random.exponential(2.0, len(connections))
        plain = random.random(len(times)) < 0.12
        for kind, chosen in ((WEB, ~plain), (PLAIN, plain)):
            parts.append(_flows(random, kind, times[chosen], source, random.choice(sites, chosen.sum(), p=favour)))
        parts.append(_flows(random, NAMES, pages - 0.1, source, SERVERS[0]))
        for kind, rate in ((FILES, 5.0), (DIRECTORY, 7.0)):
            at = _moments(random, hours, rate)
            parts.append(_flows(random, kind, at, source, random.choice(SERVERS[:2], len(at))))
    return parts


def _devices(random: Random, hours: int) -> list[pd.DataFrame]:
    """Cameras and sensors report every minute or so, day and night."""
    parts = []
    for n in (15, 16, 17, 18, 31, 32):
        count = hours * 60
        times = MONDAY + np.arange(count) * 60.0 + random.uniform(0, 60) + random.normal(0, 0.5, count)
        parts.append(_flows(random, REPORT, times, f"10.20.3.{n}", "192.0.2.80"))
        parts.append(_flows(random, CLOCK, times[::17], f"10.20.3.{n}", "192.0.2.123"))
    return parts


def _servers(random: Random, hours: int) -> list[pd.DataFrame]:
    """A backup each night, and updates: large, and harmless."""
    nights = MONDAY + 7_200 + np.arange((hours + 23) // 24) * 86_400.0
    parts = [_flows(random, BACKUP, nights + random.uniform(0, 600, len(nights)), s, SERVERS[2]) for s in SERVERS[:2]]
    at = _moments(random, hours, 3.0)
    return [*parts, _flows(random, WEB, at, SERVERS[0], random.choice(["192.0.2.10", "192.0.2.11"], len(at)))]


def _infection(random: Random, hours: int) -> tuple[list[pd.DataFrame], dict[str, Any]]:
    """The camera calls its control server five or six times a minute, and searches in bursts of some minutes."""
    start = MONDAY + 3600 * hours * random.uniform(0.55, 0.75)
    end = min(start + 3600 * random.uniform(2.0, 4.0), MONDAY + 3600 * hours - 60.0)
    calls = np.cumsum(random.normal(10.8, 1.2, max(8, int((end - start) / 10.8))).clip(2)) + start
    answered = random.random(len(calls)) < 0.25
    parts = [
        _flows(random, CALL, calls[~answered], CAMERA, CONTROL, botnet=1),
        _flows(random, ANSWERED, calls[answered], CAMERA, CONTROL, botnet=1),
    ]
    for begin in np.sort(random.uniform(start, max(start + 1, end - 420), 4)):
        times = begin + np.sort(random.uniform(0, random.uniform(180, 420), int(random.uniform(400, 1_200))))
        targets = [f"198.{18 + a}.{b}.{c}" for a, b, c in random.integers(0, (2, 256, 256), (len(times), 3))]
        parts.append(_flows(random, SEARCH, times, CAMERA, np.array(targets), botnet=1))
    return parts, {"device": CAMERA, "control": CONTROL, "start": float(start), "end": float(end)}


def _moments(random: Random, hours: int, per_hour: float) -> Any:
    """Random times, most of them between 8 and 18 o'clock."""
    found = []
    for hour in range(hours):
        weight = 1.0 if 8 <= hour % 24 < 18 else 0.06
        count = random.poisson(per_hour * weight)
        found.append(MONDAY + hour * 3600.0 + np.sort(random.uniform(0, 3600, count)))
    return np.concatenate(found)


def _flows(random: Random, kind: Kind, times: Any, source: str, target: Any, botnet: int = 0) -> pd.DataFrame:
    """One flow at each time. Sizes and durations vary by the kind's spread."""
    count = len(times)

    def varied(median: float) -> Any:
        return median * np.exp(random.normal(0, kind.spread, count))

    sent = np.maximum(varied(kind.bytes_in), 40).astype("int64") if kind.bytes_in else np.zeros(count, "int64")
    received = varied(kind.bytes_out).astype("int64")
    seconds = np.round(varied(kind.seconds), 6)
    if kind.state == "S0":
        seconds = np.where(random.random(count) < 0.3, 0.0, seconds)  # one packet: no duration
    micro = np.round(seconds * 1e6)
    return pd.DataFrame(
        {
            "_time": np.round(times, 6),
            "src_ip": source,
            "src_port": random.integers(32_768, 61_000, count),
            "dest_ip": target,
            "dest_port": kind.port,
            "transport": kind.transport,
            "app": kind.app or None,
            "protocol_stack": ":".join(p for p in ("ip", kind.transport, kind.app) if p),
            "bytes_in": sent,
            "bytes_out": received,
            "packets_in": sent // 700 + 1,
            "packets_out": received // 1_200 + (received > 0),
            "duration": seconds,
            "time_taken": micro.astype("int64"),
            "client_rtt": micro,
            "conn_state": kind.state,
            "botnet": botnet,
        }
    )
