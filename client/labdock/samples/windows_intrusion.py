"""An intrusion by night: from an employee's workstation to a server, in one of several styles."""

from dataclasses import dataclass

import numpy as np

from labdock.samples.windows_world import Random, World

ORIGIN = "intrusion"
STYLES = ("service", "task", "wmi", "desktop")


@dataclass(frozen=True)
class Intrusion:
    """What was planted: the truth to compare a detection with."""

    foothold: str  # workstation
    victim: str  # server
    account: str  # whose rights were used on the victim
    style: str
    start: int  # hour from the first day's midnight


def plant(world: World, random: Random) -> Intrusion:
    """Add an intrusion to the world's streams."""
    foothold = str(random.choice(list(world.workstations)))
    user = world.workstations[foothold]
    victim = str(random.choice([s for s in world.servers if not s.startswith("DC")]))
    account = str(random.choice([*world.admins, world.helpdesk, "svc_patch", user]))
    style = str(random.choice(STYLES))
    day = int(random.integers(min(1, world.days - 1), world.days))
    hour = int(random.choice([22, 23, 0, 1, 2, 3, 4]))
    start = min(day * 24 + hour, world.hours - 3)
    truth = Intrusion(foothold, victim, account, style, start)
    force = random.uniform(0.7, 2.0)
    _at_the_foothold(world, truth, user, force)
    _guessing(world, random, truth, force)
    _on_the_victim(world, random, truth, force)
    return truth


def _hours(world: World, start: int, length: int, force: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    shape = np.zeros(world.hours)
    shape[start : start + length] = force
    return shape


def _at_the_foothold(world: World, truth: Intrusion, user: str, force: float) -> None:
    """Looking around with the employee's own rights: processes, groups, the memory of the logon service."""
    shape = _hours(world, truth.start, 2, force)
    tools = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
    world.add(truth.foothold, user, {4688: 12, 4689: 10}, shape, origin=ORIGIN, New_Process_Name=tools)
    world.add(truth.foothold, user, {4624: 1, 4648: 3, 4673: 2, 4798: 3, 4799: 3}, shape, origin=ORIGIN, Logon_Type=9)
    world.add(truth.foothold, user, {4656: 2, 4663: 2}, shape, origin=ORIGIN)


def _guessing(world: World, random: Random, truth: Intrusion, force: float) -> None:
    """Passwords tried against the victim, for some accounts; slow ones leave little."""
    shape = _hours(world, truth.start, 1, force)
    people = [*world.admins, world.helpdesk, *world.workstations.values(), "Administrator", "Guest"]
    tries = random.uniform(1, 8)
    for name in random.permutation(people)[: int(random.integers(3, 9))]:
        failed = {"origin": ORIGIN, "Logon_Type": 3, "Keywords": "Audit Failure"}
        world.add(truth.victim, str(name), {4625: tries}, shape, **failed)


def _on_the_victim(world: World, random: Random, truth: Intrusion, force: float) -> None:
    """Logon with stolen rights, something that runs there, an account to come back with, perhaps a cleared log."""
    shape = _hours(world, truth.start + 1, 2, force)
    account, host = truth.account, truth.victim
    logon = 10 if truth.style == "desktop" else 3
    common = {4624: 3, 4672: 3, 4634: 2, 4648: 1, 4799: 1}
    world.add(host, account, common, shape, origin=ORIGIN, Logon_Type=logon)
    shell = r"C:\Windows\System32\cmd.exe"
    by_style: dict[str, dict[int, float]] = {
        "service": {4697: 2, 5140: 3, 5145: 6, 4688: 4},
        "task": {4698: 2, 4699: 1.5, 4702: 1, 5140: 2, 5145: 3, 4688: 4},
        "wmi": {4688: 8, 4689: 6, 4673: 2, 4703: 1},
        "desktop": {4688: 14, 4689: 12, 4778: 1, 4779: 1, 4673: 2},
    }
    world.add(host, account, by_style[truth.style], shape, origin=ORIGIN, New_Process_Name=shell)
    back_door = str(random.choice(["support_388", "sqladmin2", "help_svc", "defaultuser1"]))
    after = _hours(world, truth.start + 2, 1, force)
    if random.random() < 0.7:
        made = {4720: 1, 4722: 1, 4724: 1, 4738: 1.5, 4732: 1.5}
        world.add(host, back_door, made, after, origin=ORIGIN)
        world.add(host, back_door, {4624: 1.5, 4672: 1.5, 4688: 3}, after, origin=ORIGIN, Logon_Type=logon)
    if random.random() < 0.4:
        world.add(host, account, {1102: 1.5}, after, origin=ORIGIN)
