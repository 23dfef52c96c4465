"""`%load_ext labdock` in a real kernel, against a real controller."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Controller, controllers
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

FLOWS = "_time,src_ip,bytes\n" + "".join(f"{1_600_000_000 + 60 * i},10.0.0.{i % 3},{i}\n" for i in range(90))


@pytest.fixture(scope="module")
def lab() -> Iterator[Controller]:
    with controllers() as make:
        controller = make()
        query = {"file_name": "flows.csv", "sourcetype": "stream:tcp"}
        assert controller("POST", "/api/indexes/flows/ingest", data=FLOWS, params=query).json()["rows"] == 90
        yield controller


class Kernel:
    """Runs cells and says what they showed."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client

    def run(self, cell: str) -> dict[str, Any]:
        """`result`, `html`, `text` printed, `error` as the notebook shows it."""
        shown: dict[str, Any] = {"result": "", "html": "", "text": "", "error": ""}

        def take(message: dict[str, Any]) -> None:
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                shown["text"] += content["text"]
            elif kind in ("execute_result", "display_data"):
                shown["result"] += content["data"].get("text/plain", "")
                shown["html"] += content["data"].get("text/html", "")
            elif kind == "error":
                shown["error"] = "\n".join(content["traceback"])

        self.client.execute_interactive(cell, output_hook=take, timeout=60, store_history=False)
        return shown

    def value(self, expression: str) -> Any:
        """The value of an expression in the kernel, by JSON."""
        shown = self.run(f"import json; print(json.dumps({expression}))")
        assert not shown["error"], shown["error"]
        return json.loads(shown["text"])

    def complete(self, cell: str, position: int) -> list[str]:
        """Cells as the completions would make them."""
        content = self.client.complete(cell, position, reply=True, timeout=60)["content"]
        start, end = content["cursor_start"], content["cursor_end"]
        return [cell[:start] + match + cell[end:] for match in content["matches"]]


@pytest.fixture(scope="module")
def kernel(lab: Controller) -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    variables = {k: v for k, v in os.environ.items() if not k.startswith("LABDOCK_")}
    variables |= {"LABDOCK_URL": lab.url, "LABDOCK_TOKEN": lab.token, "LABDOCK_HOME": str(Path(lab.home) / "elsewhere")}
    manager.start_kernel(env=variables)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        made = Kernel(client)
        loaded = made.run("%load_ext labdock")
        assert not loaded["error"], loaded["error"]
        yield made
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_a_cell_is_a_search_and_its_rows_a_frame(kernel: Kernel) -> None:
    shown = kernel.run(
        "%%labdock_search --into found\nindex=flows\n| stats count sum(bytes) as total by src_ip\n| sort -total"
    )
    assert not shown["error"], shown["error"]
    assert "<table" in shown["html"]
    assert "3 rows, 90 read" in shown["html"]
    totals = {f"10.0.0.{k}": sum(range(k, 90, 3)) for k in range(3)}
    assert kernel.value("dict(zip(found['src_ip'], found['total'].tolist()))") == totals
    assert kernel.value("found['total'].is_monotonic_decreasing") is True
    assert kernel.value("[type(found).__mro__[1].__name__, type(found.head(1)).__name__]") == ["DataFrame", "DataFrame"]


def test_a_line_gives_a_frame_and_keeps_its_characters(kernel: Kernel) -> None:
    """Neither IPython's `{x}` and `$x` nor quotes are touched."""
    text = '| makeresults | eval a="{src} $HOME \\"q\\"" | table a'
    assert not kernel.run(f"src = 1\none = %labdock_search --app search {text}")["error"]
    assert kernel.value("one['a'].tolist()") == ['{src} $HOME "q"']


def test_times_are_shown_in_the_zone_and_stay_numbers(kernel: Kernel) -> None:
    shown = kernel.run("%%labdock_search --timezone Europe/Zurich --into t\nindex=flows | sort _time | head 1")
    assert "2020-09-13 14:26:40" in shown["html"]
    assert "2020-09-13 14:26:40" in shown["result"]
    assert kernel.value("t['_time'].tolist()") == [1_600_000_000]


def test_options_narrow_the_search(kernel: Kernel) -> None:
    line = "%%labdock_search --earliest=1600000600 --latest '1600001200' --into t\nindex=flows | stats count"
    assert not kernel.run(line)["error"]
    assert kernel.value("t['count'].tolist()") == [10]
    assert not kernel.run("%%labdock_search --max-rows 7 --into t\nindex=flows")["error"]
    assert kernel.value("len(t)") == 7


def test_an_error_underlines_its_place_and_shows_no_frame_of_ours(kernel: Kernel) -> None:
    shown = kernel.run("%%labdock_search\nindex=flows\n| statz count by src_ip")
    lines = shown["error"].split("\n")
    place = lines.index("| statz count by src_ip")
    assert lines[place + 1] == "  ^^^^^"
    assert "stats" in shown["error"], "the nearest command is offered"
    assert "Traceback" not in shown["error"]
    assert "magic.py" not in shown["error"]
    assert kernel.run("1 + 1")["result"] == "2", "the kernel goes on"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("%labdock_search --earlest -1h index=flows", "--earliest"),
        ("%labdock_search --into 1x index=flows", "name of a variable"),
        ("%labdock_search --max-rows many index=flows", "no number"),
        ("%labdock_search --earliest 'x index=flows", "quotes"),
        ("%labdock_search", "empty"),
        ("%labdock_search index=flos", "flows"),
    ],
)
def test_mistakes_say_what_to_do(kernel: Kernel, line: str, told: str) -> None:
    shown = kernel.run(line)
    assert told in shown["error"]
    assert "Traceback" not in shown["error"]


def test_completion_asks_the_controller(kernel: Kernel) -> None:
    cell = "%%labdock_search\nindex=flows | stat"
    assert "%%labdock_search\nindex=flows | stats" in kernel.complete(cell, len(cell))
    line = "x = %labdock_search --app search index=flo"
    assert "x = %labdock_search --app search index=flows" in kernel.complete(line, len(line))
    other = "import o"
    assert "import os" in kernel.complete(other, len(other))


def test_without_a_controller_it_says_how_to_reach_one(kernel: Kernel) -> None:
    cell = "import os\nkept = os.environ.pop('LABDOCK_URL')\n%reload_ext labdock\n%labdock_search index=flows\n"
    shown = kernel.run(cell)
    assert "labdock up" in shown["error"]
    assert not kernel.run("os.environ['LABDOCK_URL'] = kept\n%reload_ext labdock")["error"]
    assert not kernel.run("%labdock_search index=flows | head 1")["error"]
