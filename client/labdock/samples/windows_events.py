"""Security events of a small company's Windows machines, made from a seed: to learn and to test on.

`generate` gives events in the columns and types of real Security logs; `hourly` gives what the lab's search makes of
them (`bin _time span=1h | stats count by _time ComputerName Account_Name EventCode`). The week holds what is odd and
harmless (backups, a patch night, administrators, the help desk, a scan) and, unless told otherwise, one intrusion at
night. Numbers of machines and events, styles and hours differ from seed to seed. No person, host or event is real.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from labdock.samples.windows_intrusion import plant
from labdock.samples.windows_world import DOMAIN, NOBODY, Random, Stream, World, build

DNS = ".buttercup.example"
MONDAY = 1_767_571_200  # 2026-01-05 00:00 UTC
MESSAGES = {
    1100: "The event logging service has shut down",
    1102: "The audit log was cleared",
    4608: "Windows is starting up",
    4616: "The system time was changed",
    4624: "An account was successfully logged on",
    4625: "An account failed to log on",
    4634: "An account was logged off",
    4648: "A logon was attempted using explicit credentials",
    4656: "A handle to an object was requested",
    4658: "The handle to an object was closed",
    4663: "An attempt was made to access an object",
    4672: "Special privileges assigned to new logon",
    4673: "A privileged service was called",
    4688: "A new process has been created",
    4689: "A process has exited",
    4690: "An attempt was made to duplicate a handle to an object",
    4697: "A service was installed in the system",
    4698: "A scheduled task was created",
    4699: "A scheduled task was deleted",
    4702: "A scheduled task was updated",
    4703: "A token right was adjusted",
    4720: "A user account was created",
    4722: "A user account was enabled",
    4724: "An attempt was made to reset an account's password",
    4726: "A user account was deleted",
    4728: "A member was added to a security-enabled global group",
    4732: "A member was added to a security-enabled local group",
    4738: "A user account was changed",
    4767: "A user account was unlocked",
    4768: "A Kerberos authentication ticket (TGT) was requested",
    4769: "A Kerberos service ticket was requested",
    4771: "Kerberos pre-authentication failed",
    4776: "The computer attempted to validate the credentials for an account",
    4778: "A session was reconnected to a Window Station",
    4779: "A session was disconnected from a Window Station",
    4798: "A user's local group membership was enumerated",
    4799: "A security-enabled local group membership was enumerated",
    4800: "The workstation was locked",
    4801: "The workstation was unlocked",
    4826: "Boot Configuration Data loaded",
    4902: "The Per-user audit policy table was created",
    4907: "Auditing settings on object were changed",
    5024: "The Windows Firewall Service has started successfully",
    5058: "Key file operation",
    5061: "Cryptographic operation",
    5140: "A network share object was accessed",
    5145: "A network share object was checked to see whether client can be granted desired access",
    5154: "The Windows Filtering Platform has permitted an application or service to listen on a port",
    5156: "The Windows Filtering Platform has permitted a connection",
    5158: "The Windows Filtering Platform has permitted a bind to a local port",
    5447: "A Windows Filtering Platform filter has been changed",
}
_LOGONS = (4624, 4625, 4634)
_ON_TARGET = (4624, 4625, 4634, 4720, 4722, 4724, 4726, 4728, 4732, 4738, 4767, 4768, 4769, 4771, 4776)
_BUILT_IN = ("SYSTEM", "LOCAL SERVICE", "NETWORK SERVICE", "ANONYMOUS LOGON")


def generate(seed: int, hosts: int = 18, days: int = 7, attack: bool = True) -> pd.DataFrame:
    """Events of `days` days from a Monday on, in order of time.

    The same arguments give the same events. What was planted is in `attrs["intrusion"]` (foothold, victim, account,
    style, start) and marked in the column `origin`; without `attack` the rest of the week stays the same in kind, and
    `attrs["intrusion"]` is None. Raises `ValueError` for fewer than 8 hosts or 1 day.
    """
    if hosts < 8 or days < 1:
        raise ValueError("generate needs at least 8 hosts and 1 day")
    random = np.random.default_rng([seed, hosts, days])
    world = build(random, hosts, days)
    truth = plant(world, np.random.default_rng([seed, hosts, days, 1])) if attack else None
    counts = [_count(random, stream) for stream in world.streams]
    events = _events(random, world, counts)
    planted = asdict(truth) if truth else None
    if planted:
        planted |= {key: planted[key] + DNS for key in ("foothold", "victim")}
    events.attrs["intrusion"] = planted
    return events


def hourly(events: pd.DataFrame) -> pd.DataFrame:
    """The lab's staging table: `_time` (epoch seconds of the hour), ComputerName, Account_Name, EventCode, count."""
    keys = pd.DataFrame(
        {
            "_time": (events["_time"] // 3600 * 3600).astype("int64"),
            "ComputerName": events["ComputerName"],
            "Account_Name": events["Account_Name"].fillna("unknown"),
            "EventCode": events["EventCode"].astype("int64"),
        }
    )
    return keys.groupby(list(keys.columns), sort=True).size().rename("count").reset_index()


def _count(random: Random, stream: Stream) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """How many events in each hour: more varied than Poisson, as real counts are."""
    burst = random.gamma(4.0, 0.25, len(stream.rate))
    return np.asarray(random.poisson(stream.rate * burst), dtype=np.int64)


def _events(random: Random, world: World, counts: "list[np.ndarray[tuple[int], np.dtype[np.int64]]]") -> pd.DataFrame:
    totals = np.array([c.sum() for c in counts])
    index = np.repeat(np.arange(len(world.streams)), totals)
    hour = np.concatenate([np.repeat(np.arange(world.hours), c) for c in counts])
    time = MONDAY + hour * 3600 + random.uniform(0, 3600, len(hour))
    order = np.argsort(time, kind="stable")
    index, time = index[order], np.round(time[order], 3)
    rows = pd.DataFrame([_row(s, world) for s in world.streams]).iloc[index].reset_index(drop=True)
    rows.insert(0, "_time", time)
    rows["EventCode"] = rows["EventCode"].astype("int32")
    rows["Logon_Type"] = rows["Logon_Type"].astype("Int16")
    rows["RecordNumber"] = (rows.groupby("ComputerName").cumcount() + 1000).astype("Int64")
    rows["source"] = "WinEventLog:Security"
    text = [c for c in rows.columns if c not in ("_time", "EventCode", "Logon_Type", "RecordNumber")]
    return rows.astype(dict.fromkeys(text, "str"))


def _row(stream: Stream, world: World) -> dict[str, Any]:
    """The columns that all events of a stream share, in the order of real Security logs."""
    account = stream.account if stream.account != NOBODY else None
    machine = f"{stream.host}$"
    on_target = stream.code in _ON_TARGET
    subject = None if account is None else (machine if on_target else account)
    domain = None if account is None else ("NT AUTHORITY" if account in _BUILT_IN else DOMAIN)
    logon = stream.details.get("Logon_Type") if stream.code in _LOGONS else None
    remote = stream.code in (4624, 4625, 4768, 4769, 4771, 5140, 5145) and logon not in (2, 5)
    process = stream.details.get("New_Process_Name") or r"C:\Windows\System32\svchost.exe"
    return {
        "ComputerName": stream.host + DNS,
        "Account_Name": account,
        "Account_Domain": domain,
        "EventCode": stream.code,
        "Account_Name_mv": f"{machine}\n{account}" if account and on_target else account,
        "Subject_Account_Name": subject,
        "Target_Account_Name": account if on_target else None,
        "Logon_Type": logon,
        "Source_Network_Address": _address(stream, world) if remote else None,
        "New_Process_Name": process if stream.code == 4688 else None,
        "Message_summary": MESSAGES.get(stream.code),
        "Keywords": stream.details.get("Keywords", "Audit Success"),
        "origin": stream.origin,
    }


def _address(stream: Stream, world: World) -> str:
    """Where the account works: its own workstation, else the server net."""
    at = next((i for i, user in enumerate(world.workstations.values()) if stream.account.endswith(user)), None)
    return f"10.20.1.{at + 11}" if at is not None else "10.20.0.10"
