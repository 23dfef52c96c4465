"""Windows events that were exported as JSON, under the names that Splunk gives them.

Layouts: the event schema itself (`Event.System`, `Event.EventData`, as evtx_dump and the Windows Event API write it),
winlogbeat 6 and 7, nxlog and other flat exports, and Azure Sentinel. Every field of the original is kept; these come
on top: `EventCode`, `ComputerName`, `LogName`, `SourceName`, `RecordNumber`, `Account_Name`, `Account_Domain`,
`Subject_Account_Name`, `Target_Account_Name`, `Logon_Type`, `Source_Network_Address`, `New_Process_Name`, `host`,
`source` and `sourcetype` (`WinEventLog:Security`), and `_time`.

`Account_Name` is one name: the target's where the event has one (logons, account management), else the subject's.
"""

from collections.abc import Mapping
from typing import Any

_MARKS = frozenset({"Event", "System", "winlog", "event_id", "EventID", "EventCode"})
_EMPTY = {None, "", "-", "N/A"}
_DATA = {
    "Subject_Account_Name": ("SubjectUserName",),
    "Target_Account_Name": ("TargetUserName",),
    "Logon_Type": ("LogonType",),
    "Source_Network_Address": ("IpAddress",),
    "New_Process_Name": ("NewProcessName",),
}


def fields_of(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Splunk's fields of a Windows event; None for an event that is not one."""
    if _MARKS.isdisjoint(event):
        return None
    for layout in (_schema, _winlogbeat, _flat):
        found = layout(event)
        if found is not None:
            system, data = found
            return _named(system, data)
    return None


def _schema(event: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]] | None:
    """`{"Event": {"System": …, "EventData": …}}`, or the same without the outer object."""
    inner = event.get("Event", event)
    system = inner.get("System") if isinstance(inner, dict) else None
    if not isinstance(system, dict) or "EventID" not in system:
        return None
    provider = system.get("Provider")
    data = inner.get("EventData") or inner.get("UserData") or {}
    return {
        "EventCode": _value(system["EventID"]),
        "ComputerName": _value(system.get("Computer")),
        "LogName": _value(system.get("Channel")),
        "RecordNumber": _value(system.get("EventRecordID")),
        "SourceName": _attribute(provider, "Name"),
        "Keywords": _value(system.get("Keywords")),
        "_time": _attribute(system.get("TimeCreated"), "SystemTime"),
    }, _pairs(data)


def _value(item: Any) -> Any:
    """The text of an XML element that was turned into JSON."""
    return item.get("#text", item.get("Value", item.get("value"))) if isinstance(item, dict) else item


def _attribute(item: Any, name: str) -> Any:
    if not isinstance(item, dict):
        return item
    attributes = item.get("#attributes") or item.get("@attributes") or item
    return attributes.get(name, attributes.get(f"@{name}", attributes.get(f"-{name}")))


def _pairs(data: Any) -> Mapping[str, Any]:
    """`EventData` as names and values, also where it is a list of `Data` elements."""
    if not isinstance(data, dict):
        return {}
    items = data.get("Data")
    if isinstance(items, list):
        named = [i for i in items if isinstance(i, dict)]
        return {str(_attribute(i, "Name")): _value(i) for i in named if _attribute(i, "Name")}
    return data


def _winlogbeat(event: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]] | None:
    inner = event.get("winlog", event)
    if not isinstance(inner, dict) or "event_id" not in inner:
        return None
    if "computer_name" not in inner and "log_name" not in inner and "channel" not in inner:
        return None
    data = inner.get("event_data") or inner.get("user_data") or {}
    return {
        "EventCode": inner["event_id"],
        "ComputerName": inner.get("computer_name"),
        "LogName": inner.get("channel") or inner.get("log_name"),
        "RecordNumber": inner.get("record_id") or inner.get("record_number"),
        "SourceName": inner.get("provider_name") or inner.get("source_name"),
        "Keywords": inner.get("keywords"),
        "_time": event.get("@timestamp"),
    }, data if isinstance(data, dict) else {}


def _flat(event: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]] | None:
    """nxlog (`Hostname`, `EventTime`) and Azure Sentinel (`Computer`, `TimeGenerated`)."""
    code = event.get("EventID", event.get("EventCode"))
    computer = event.get("Computer") or event.get("Hostname") or event.get("ComputerName") or event.get("MachineName")
    channel = event.get("Channel") or event.get("LogName") or event.get("EventLog")
    if code is None or not computer or not (channel or "SourceName" in event or "EventSourceName" in event):
        return None
    nested = event.get("EventData")
    return {
        "EventCode": _value(code),
        "ComputerName": computer,
        "LogName": channel,
        "RecordNumber": event.get("RecordNumber") or event.get("EventRecordID") or event.get("EventRecordId"),
        "SourceName": event.get("SourceName") or event.get("EventSourceName") or event.get("ProviderName"),
        "Keywords": event.get("Keywords"),
        "_time": _flat_time(event),
    }, {**event, **_pairs(nested)}


def _flat_time(event: Mapping[str, Any]) -> Any:
    """The collector's time where it has a zone: nxlog's `EventTime` is the sender's local time without one."""
    zoned = next((event[k] for k in ("@timestamp", "TimeGenerated", "TimeCreated") if event.get(k)), None)
    return zoned or event.get("EventTime") or event.get("UtcTime")


def _named(system: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    found = {k: _joined(v) for k, v in system.items() if v not in (None, "")}
    for name, sources in _DATA.items():
        value = next((data[s] for s in sources if data.get(s) not in _EMPTY), None)
        if value is not None:
            found[name] = value
    for name in ("EventCode", "RecordNumber", "Logon_Type"):
        if name in found:
            found[name] = _integer(found[name])
    target, subject = found.get("Target_Account_Name"), found.get("Subject_Account_Name")
    account = target or subject
    if account:
        found["Account_Name"] = account
        domain = data.get("TargetDomainName" if target else "SubjectDomainName")
        if domain not in _EMPTY:
            found["Account_Domain"] = domain
    if "ComputerName" in found:
        found["host"] = found["ComputerName"]
    if "LogName" in found:
        found["source"] = found["sourcetype"] = f"WinEventLog:{found['LogName']}"
    return found


def _joined(value: Any) -> Any:
    return [str(v) for v in value] if isinstance(value, list) else value


def _integer(value: Any) -> Any:
    try:
        return int(str(value), 0) if not isinstance(value, (dict, list)) else str(value)
    except ValueError:
        return value
