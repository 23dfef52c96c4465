"""When an alert runs: a cron expression of five fields in a time zone, or an interval."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from labdock.errors import InvalidOptions

SHORTEST = 10.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def next_time(schedule: str, timezone: str, after: float) -> float:
    """The first time later than `after`, in epoch seconds.

    `schedule` is an interval (`30s`, `5m`, `1h`, `1d`) or a cron expression (`*/5 * * * *`). Raises `InvalidOptions`.
    """
    text = schedule.strip()
    if text[:-1].replace(".", "", 1).isdigit() and text[-1:] in _UNITS:
        seconds = float(text[:-1]) * _UNITS[text[-1]]
        if seconds < SHORTEST:
            raise InvalidOptions(f"The interval {text} is too short.", remedy=f"Use {SHORTEST:g}s or more.")
        return (after // seconds + 1) * seconds
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415 - the start needs no calendar

    try:
        trigger = CronTrigger.from_crontab(text, timezone=ZoneInfo(timezone))
        moment = datetime.fromtimestamp(after, UTC) + timedelta(seconds=1)
        found = trigger.get_next_fire_time(None, moment)
    except ZoneInfoNotFoundError:
        raise InvalidOptions(f"{timezone!r} is no time zone.", remedy="Use a name such as Europe/Zurich.") from None
    except (ValueError, KeyError, IndexError) as error:
        raise InvalidOptions(
            f"{schedule!r} is no schedule: {error}.",
            remedy="Write an interval (5m, 1h) or five cron fields (*/5 * * * *).",
        ) from None
    if found is None:
        raise InvalidOptions(f"The schedule {schedule!r} never comes.", remedy="Check its day and month.")
    return float(found.timestamp())
