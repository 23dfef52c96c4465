"""`labdock lab`: everything that the lab guide expects."""

from labdock.cli import options
from labdock.cli.output import note, say, show_json
from labdock.progress import Activity


def lab(as_json: options.AsJson = False, progress: options.Progress = None) -> None:
    """Prepare the lab: lookups, events, models, users and the environment __dev__. Safe to repeat.

    Example: labdock lab
    """
    with options.lab(progress) as connected, Activity("preparing the lab", connected.progress):
        prepared = connected.connection.call("POST", "/api/lab", {})
        environment = connected.environments.start("__dev__")
    if as_json:
        show_json({**prepared, "environment": environment.name})
        return
    say(f"Lookups: {', '.join(prepared['lookups'])}")
    say(f"Index {prepared['index']}: {prepared['events']:,} events ({prepared['added']:,} added)")
    if prepared["models"]:
        say(f"ONNX models: {', '.join(prepared['models'])}")
    if prepared["users"]:
        say(f"Users: {', '.join(prepared['users'])} (hand them a sign-in link from the Users page)")
    say(f"Environment {environment.name} is running: labdock open {environment.name}")
    for notice in prepared["notices"]:
        note(notice)
    say("Next: labdock search 'index=botsv3 | stats count by sourcetype'")
