"""A company's Windows machines, who works on them, and how much of what they log in each hour of some days."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Hours = npt.NDArray[np.float64]
Random = np.random.Generator

SERVERS = ("DC01", "FILE01", "BACKUP01", "WSUS01", "WEB01", "SQL01", "PRINT01", "APP01", "MAIL01", "DC02")
_FIRST = [
    "anna",
    "ben",
    "carla",
    "deniz",
    "elif",
    "finn",
    "grace",
    "hugo",
    "ines",
    "jonas",
    "kira",
    "liam",
    "mina",
    "noah",
    "olga",
    "paul",
    "quin",
    "rosa",
    "sven",
    "tara",
]
_LAST = [
    "adler",
    "brandt",
    "costa",
    "dietz",
    "engel",
    "fuchs",
    "gross",
    "haas",
    "iqbal",
    "jung",
    "keller",
    "lang",
    "moser",
    "nowak",
    "okoye",
    "peters",
    "ritter",
]
DOMAIN = "BUTTERCUP"
NOBODY = ""  # events of the filtering platform name no account


@dataclass(frozen=True)
class Stream:
    """One kind of event on one host by one account, and how many to expect in each hour."""

    host: str
    account: str
    code: int
    rate: Hours
    origin: str = "baseline"
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class World:
    """Hosts and people. `streams` is everything that happens, in expectation."""

    days: int
    workstations: dict[str, str]  # host -> its user
    servers: list[str]
    admins: list[str]
    helpdesk: str
    streams: list[Stream] = field(default_factory=list)

    @property
    def hosts(self) -> list[str]:
        return [*self.servers, *self.workstations]

    @property
    def hours(self) -> int:
        return self.days * 24

    def add(self, host: str, account: str, rates: Mapping[int, float], shape: Hours, **details: Any) -> None:
        """Streams for several event codes that rise and fall together."""
        origin = details.pop("origin", "baseline")
        for code, rate in rates.items():
            self.streams.append(Stream(host, account, code, rate * shape, origin, details))


def build(random: Random, hosts: int, days: int) -> World:
    """Hosts, people and their ordinary weeks, with what looks odd and is not."""
    world = _people(random, hosts, days)
    loudness = random.lognormal(0, 0.35)
    for host in world.hosts:
        _machine(world, host, loudness * random.lognormal(0, 0.3))
    for host, user in world.workstations.items():
        _office_work(world, random, host, user)
    _backup(world, random)
    _patch_night(world, random)
    _admin_work(world, random)
    _help_desk(world, random)
    _inventory_scan(world, random)
    return world


def _people(random: Random, hosts: int, days: int) -> World:
    servers = list(SERVERS[: int(np.clip(round(hosts * random.uniform(0.28, 0.42)), 4, len(SERVERS)))])
    names = [f"{first[0]}{last}" for last in _LAST for first in _FIRST]
    chosen = [str(n) for n in random.permutation(names)[: hosts - len(servers)]]
    prefix = str(random.choice(["WS", "PC-", "LAPTOP", "CLIENT"]))
    workstations = {f"{prefix}{i + 1:03d}": user for i, user in enumerate(chosen)}
    admins = [f"adm_{user}" for user in chosen[: int(random.integers(2, 4))]]
    return World(days, workstations, servers, admins, f"hd_{chosen[-1]}")


def _day_shape(world: World, random: Random, start: float, end: float, weekend: float) -> Hours:
    """Work from `start` to `end` o'clock with a lunch dip, each day a little different, little at weekends."""
    hour = np.arange(world.hours) % 24
    day = np.arange(world.hours) // 24
    shift = random.normal(0, 0.4, world.days)[day]
    shape = 1 / (1 + np.exp(-2 * (hour - start - shift))) / (1 + np.exp(2 * (hour - end - shift)))
    shape = shape * np.where(hour == 12, 0.6, 1.0) * random.lognormal(0, 0.2, world.days)[day]
    return np.asarray(np.where(day % 7 >= 5, weekend, 1.0) * shape)


def _during(world: World, moments: list[tuple[int, int]], length: int = 1) -> Hours:
    """1 in the hours that begin at (day, hour), for `length` hours; else 0."""
    shape = np.zeros(world.hours)
    for day, hour in moments:
        begin = day * 24 + hour
        shape[max(begin, 0) : begin + length] = 1.0
    return shape


def _machine(world: World, host: str, loud: float) -> None:
    """What a machine logs by itself, day and night."""
    always = np.full(world.hours, loud)
    own = {4624: 1.5, 4672: 1.5, 4634: 0.8, 4656: 4, 4663: 3, 4658: 6, 4690: 2, 4703: 1, 5058: 0.3, 5061: 0.3}
    world.add(host, f"{host}$", own, always, Logon_Type=3)
    world.add(host, "SYSTEM", {4624: 2, 4672: 2, 4688: 2.5, 4689: 2.5, 4673: 0.6, 4799: 0.3}, always, Logon_Type=5)
    world.add(host, "LOCAL SERVICE", {4703: 1.2, 4624: 0.1}, always, Logon_Type=5)
    world.add(host, "NETWORK SERVICE", {4624: 0.1, 4688: 0.1}, always, Logon_Type=5)
    world.add(host, NOBODY, {5156: 8, 5158: 5, 5154: 0.2, 5447: 0.3}, always)
    if host.startswith("DC"):
        world.add(host, "ANONYMOUS LOGON", {4624: 0.8}, always, Logon_Type=3)
        for other in world.hosts:
            world.add(host, f"{other}$", {4768: 0.3, 4769: 0.8, 4624: 0.5, 4634: 0.5}, always, Logon_Type=3)


def _office_work(world: World, random: Random, host: str, user: str) -> None:
    """A person at a workstation, on the file server and at the domain controller; some come early or stay late."""
    start = random.normal(8, 0.8)
    shape = _day_shape(
        world, random, start, start + random.normal(9, 1), random.choice([0.0, 0.02, 0.3], p=[0.6, 0.3, 0.1])
    )
    busy = shape * random.lognormal(0, 0.4)
    world.add(host, user, {4688: 7, 4689: 6, 4673: 0.5, 4648: 0.2, 4798: 0.15}, busy)
    world.add(host, user, {4624: 0.8, 4634: 0.6, 4800: 0.5, 4801: 0.5}, busy, Logon_Type=2)
    world.add(host, user, {4625: 0.06}, busy, Logon_Type=2, Keywords="Audit Failure")
    world.add("DC01", user, {4768: 0.5, 4769: 2, 4776: 0.3}, busy)
    world.add("DC01", user, {4771: 0.05}, busy, Keywords="Audit Failure")
    shares = [s for s in world.servers if not s.startswith(("DC", "BACKUP", "WSUS", "SQL"))]
    for server in random.permutation(shares)[: int(random.integers(1, 4))]:
        world.add(
            str(server), user, {4624: 1, 4634: 1, 5140: 1.2, 5145: 2.5}, busy * random.uniform(0.2, 1), Logon_Type=3
        )
    if random.random() < 0.25:  # an evening at work, from home over the terminal server's gateway
        late = _during(world, [(int(random.integers(0, min(5, world.days))), int(random.integers(19, 23)))], 2)
        world.add(host, user, {4688: 5, 4689: 4, 4801: 1}, late)
        world.add(host, user, {4624: 1.5, 4634: 1}, late, Logon_Type=10)


def _backup(world: World, random: Random) -> None:
    """Every night, every server, for hours: by volume the loudest thing there is."""
    hour, length = int(random.integers(0, 4)), int(random.integers(2, 4))
    shape = _during(world, [(day, hour) for day in range(world.days)], length) * random.uniform(0.6, 2.5)
    for server in world.servers:
        world.add(server, "svc_backup", {4624: 4, 4672: 4, 4634: 4, 5140: 6, 5145: 15}, shape, Logon_Type=3)
        heavy = 60 if server.startswith("FILE") else 12
        world.add(server, "svc_backup", {4656: heavy, 4663: heavy, 4658: heavy}, shape)
    world.add("BACKUP01", "svc_backup", {4688: 5, 4689: 5, 4648: 6}, shape)


def _patch_night(world: World, random: Random) -> None:
    """One night: services, tasks and reboots on every machine, within an hour or two."""
    day, hour = int(random.integers(min(1, world.days - 1), min(4, world.days))), int(random.integers(20, 23))
    for host in world.hosts:
        shape = _during(world, [(day, hour + int(random.integers(0, 2)))], 2) * random.uniform(0.5, 1.5)
        world.add(host, "SYSTEM", {4688: 40, 4689: 40, 4697: 0.8, 4698: 0.5, 4702: 2, 4616: 0.5, 4907: 3}, shape)
        world.add(host, f"{host}$", {4608: 0.6, 1100: 0.6, 4826: 0.6, 4902: 0.6, 5024: 0.6}, shape)
        world.add(host, "svc_patch", {4624: 2, 4672: 2, 4634: 2, 5140: 1}, shape, Logon_Type=3)


def _admin_work(world: World, random: Random) -> None:
    """Administrators on servers by day, each with a habit, at times in the evening; accounts and groups change."""
    for admin in world.admins:
        shape = _day_shape(world, random, random.normal(8.5, 1), random.normal(17, 1.5), 0.02)
        for server in random.permutation(world.servers)[: int(random.integers(2, len(world.servers)))]:
            visits = shape * random.uniform(0.1, 0.6)
            world.add(str(server), admin, {4624: 1, 4634: 1, 4672: 1, 4648: 0.3}, visits, Logon_Type=10)
            world.add(str(server), admin, {4688: 6, 4689: 5, 4673: 1, 4698: 0.03, 4702: 0.05, 4697: 0.02}, visits)
        changes = {4720: 0.03, 4722: 0.03, 4724: 0.06, 4728: 0.05, 4732: 0.02, 4738: 0.1, 4726: 0.02}
        world.add("DC01", admin, {4624: 0.6, 4672: 0.6, 4768: 0.3, 4769: 1, **changes}, shape, Logon_Type=3)
        evening = [(int(random.integers(0, world.days)), int(random.integers(18, 23)))]
        world.add(
            str(random.choice(world.servers)), admin, {4624: 2, 4672: 2, 4688: 8, 4702: 0.4}, _during(world, evening)
        )


def _help_desk(world: World, random: Random) -> None:
    """The help desk on other people's workstations, and its password resets."""
    names = list(world.workstations)
    for _ in range(int(random.integers(2, 5)) * world.days):
        day, hour = int(random.integers(0, world.days)), int(random.integers(8, 17))
        if day % 7 >= 5:
            continue
        host, visit = str(random.choice(names)), _during(world, [(day, hour)])
        world.add(host, world.helpdesk, {4624: 2, 4672: 2, 4634: 2, 4648: 0.5}, visit, Logon_Type=10)
        world.add(host, world.helpdesk, {4688: 6, 4689: 5, 4798: 0.5, 4799: 0.5, 4732: 0.05}, visit)
        world.add("DC01", world.helpdesk, {4768: 1, 4769: 2, 4724: 0.6, 4767: 0.3, 4738: 0.6}, visit)


def _inventory_scan(world: World, random: Random) -> None:
    """The security team's own scan: one account at every machine, with failures, in one hour of one day."""
    day, hour = int(random.integers(0, world.days)), int(random.integers(5, 20))
    shape = _during(world, [(day, hour)])
    for host in world.hosts:
        world.add(host, "svc_scan", {4624: 2, 4634: 2, 5140: 2}, shape, Logon_Type=3)
        world.add(host, "svc_scan", {4625: random.uniform(0, 6)}, shape, Logon_Type=3, Keywords="Audit Failure")
