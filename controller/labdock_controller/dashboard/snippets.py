"""How a model is called: the same in the search language, in Python, over HTTP and on the command line."""

import json
import shlex
from dataclasses import dataclass
from urllib.parse import quote

from labdock_controller.model_rows import Model

DATA = "data.csv"


@dataclass(frozen=True)
class Snippet:
    key: str
    title: str
    text: str


def reference(model: Model) -> str:
    """What a search calls it: `app:onnx:m`, `onnx:m`, `m`."""
    kind = "onnx:" if model.kind == "onnx" else ""
    return ("app:" if model.sharing != "user" else "") + kind + model.name


def snippets(model: Model, base: str) -> list[Snippet]:
    """Each runs as it stands once its data is there. `base` is the controller's address as the reader knows it."""
    named = reference(model)
    search = f"| inputlookup {DATA}\n| apply {named}"
    line = search.replace("\n", " ")
    python, curl, command = onnx_calls(line, base) if model.kind == "onnx" else module_calls(model, named, base)
    return [
        Snippet("search", "Search", search),
        Snippet("python", "Python", python),
        Snippet("curl", "curl", curl),
        Snippet("command", "Command line", command),
    ]


def onnx_calls(search: str, base: str) -> tuple[str, str, str]:
    """Searches apply it, so every caller starts one."""
    body = shlex.quote(json.dumps({"search": search}, ensure_ascii=False))
    return (
        f"import labdock\n\nlab = labdock.connect()\nfound = lab.search({search!r}).pandas()",
        f"job=$(curl -s -H \"Authorization: Bearer $LABDOCK_TOKEN\" -H 'Content-Type: application/json' \\\n"
        f"  -d {body} '{base}/api/searches?wait=60' | jq -r .id)\n"
        f'curl -s -H "Authorization: Bearer $LABDOCK_TOKEN" "{base}/api/searches/$job/results?format=csv"',
        f"labdock search {shlex.quote(search)} --out predictions.csv",
    )


def module_calls(model: Model, named: str, base: str) -> tuple[str, str, str]:
    """The environment applies it to a table that the caller sends."""
    options = json.dumps({"model": model.name})
    place = quote(model.environment or "")
    return (
        "import labdock\nimport pandas as pd\n\nlab = labdock.connect()\n"
        f"df = pd.read_csv({DATA!r})\nfound = lab.models.get({named!r}).apply(df)",
        'curl -s -H "Authorization: Bearer $LABDOCK_TOKEN" '
        f"-H 'Content-Type: text/csv' -H 'Accept: text/csv' \\\n"
        f"  -H {shlex.quote('Labdock-Options: ' + options)} \\\n"
        f"  --data-binary @{DATA} '{base}/api/environments/{place}/apply'",
        f"labdock apply {shlex.quote(named)} {DATA} --out predictions.csv",
    )
