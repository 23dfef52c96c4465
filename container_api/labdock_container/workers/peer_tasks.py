"""The peer's `/fit` and `/apply` inside a worker: JSON with CSV text in, JSON with CSV text out, byte for byte.

The answers' wording is what the peer's client shows to its user, so it is kept, as is the status 200 of failures.
"""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from labdock import frames
from labdock.errors import InvalidName, LabdockError, ModuleError, NotFound
from labdock.names import check_name
from labdock.wire import FrameOptions
from labdock_container import tables
from labdock_container.settings import Settings
from labdock_container.workers.describing import origin_of
from labdock_container.workers.fitting import Fitter
from labdock_container.workers.protocol import Message
from labdock_container.workers.staging import write_arrow, write_files

_PARSE = (
    'unable to parse json from POST data. Provide a JSON object with structure { "data" : '
    '"<string of csv serialized pandas dataframe>", "meta" : {<json dict object for parameters>}}. '
)
_FRAME = "unable to convert raw data to pandas dataframe. "
_STAGE = "unable to stage dataframe. "
_LOAD = "unable to load algo code from module. "
_INIT = "unable to initialize module. "
_STEPS = {
    "/fit": {
        "import": _LOAD,
        "init": _INIT,
        "fit": "unable to fit model. ",
        "save": "unable to save model. ",
        "apply": "unable to apply model. ",
    },
    "/apply": {"apply": "unable to apply model. "},
}
# Where the peer's user finds staged data; a link to the notebooks folder in our images.
_DATA = "/srv/notebooks/data/"


class PeerFailure(Exception):
    """What the peer's client is told: a step's wording and the cause."""

    def __init__(self, step: str, cause: BaseException) -> None:
        super().__init__(f"{step}Ended with exception: {cause}")


class PeerRequest:
    """One request of the peer's client, parsed."""

    def __init__(self, content: bytes) -> None:
        try:
            request = json.loads(content)
            data, self.meta = request["data"], request["meta"]
        except (ValueError, KeyError, TypeError) as error:
            raise PeerFailure(_PARSE, error) from None
        try:
            self.frame = pd.read_csv(StringIO(data))
            options = self.meta["options"]
            name = str(options.get("model_name", "default")).removeprefix("app:")
            self.model = check_name(name, "model")
        except (ValueError, KeyError, TypeError, AttributeError, InvalidName) as error:
            raise PeerFailure(_FRAME, error) from None
        params = options.get("params")
        self.params: dict[str, Any] = params if isinstance(params, dict) else {}

    @property
    def staging(self) -> bool:
        return "mode" in self.params and _clean(self.params["mode"]) == "stage"

    @property
    def options(self) -> FrameOptions:
        """The request in the words of the native wire format; what is missing in `meta` is empty."""
        return FrameOptions(
            algo=_clean(self.params["algo"]),
            model=self.model,
            features=[str(f) for f in self.meta.get("feature_variables") or []],
            target=[str(t) for t in self.meta.get("target_variables") or []],
            params={k: v for k, v in self.params.items() if k not in ("mode", "algo")},
        )


def _clean(value: Any) -> str:
    """A parameter as the peer reads it: without the quotes that a search may have left on it."""
    return str(value).lstrip('"').rstrip('"')


def run(fitter: Fitter, settings: Settings, message: Message, body: bytes) -> tuple[Message, int]:
    """Do what `message` (its `action` is `/fit` or `/apply`) and the `body` ask for."""
    action = message["action"]
    reply: Message = {"type": "result", "rows": None, "algo": "", "model": ""}
    try:
        request = PeerRequest(body)
        reply["model"] = request.model
        if action == "/fit" and request.staging:
            answer = _stage(settings.data, request)
        else:
            answer = _compute(fitter, action, request, reply)
        reply["rows"] = len(request.frame)
    except (PeerFailure, LabdockError) as error:
        answer = {"status": "error", "message": f"{action}: ERROR: {error}"}
    return reply, tables.seal_bytes([peer_json(answer)])


def peer_json(answer: dict[str, str]) -> bytes:
    """Bytes as the peer's web framework writes them."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def _stage(folder: Path, request: PeerRequest) -> dict[str, str]:
    model, frame = request.model, request.frame
    files = {
        f"{model}.csv": lambda path: frame.to_csv(path, index=False),
        f"{model}.json": lambda path: path.write_text(json.dumps(request.meta)),
        f"{model}.arrow": lambda path: write_arrow(path, frames.from_pandas(frame)),
    }
    try:
        write_files(folder, files)
    except (OSError, ValueError, LabdockError) as error:
        raise PeerFailure(_STAGE, error) from None
    text = f"Model data staged successfully in {_DATA}{model}.csv - no model was built yet."
    return {"status": "staged", "message": text}


def _compute(fitter: Fitter, action: str, request: PeerRequest, reply: Message) -> dict[str, str]:
    results: list[str] = []

    def render(result: Any) -> None:
        try:
            results.append(pd.DataFrame(result).to_csv(index=False))
        except (ValueError, TypeError) as error:
            raise PeerFailure(_STEPS[action]["apply"], error) from None

    try:
        options = request.options
        reply["algo"] = options.algo
        if action == "/fit":
            module = fitter.module(options.algo)
            schema = pa.Schema.from_pandas(request.frame, preserve_index=False)
            origin = origin_of(module, options, options.features, schema, len(request.frame))
            fitter.train(module, request.frame, request.meta, origin, render)
        else:
            module, fitted = fitter.fitted(options)
            render(fitter.run_apply(module, fitted.value, request.frame, request.meta))
    except KeyError as error:
        raise PeerFailure(_LOAD if action == "/fit" else _INIT, error) from None
    except (ModuleError, NotFound, InvalidName) as error:
        step = _STEPS[action].get(str(error.details.get("function", "import")), _INIT)
        raise PeerFailure(step, error) from None
    return {"status": "success", "message": f"{action} done successfully", "results": results[0]}


def summary(fitter: Fitter, options: FrameOptions) -> dict[str, Any]:
    """The model's text and summary, for the peer's `GET /summary`."""
    module, fitted = fitter.fitted(options)
    described: dict[str, Any] = {"model": str(fitted.value)[:10_000]}
    if "summary" in module.functions:
        described["model_summary"] = module.call("summary", fitted.value)
    return json.loads(json.dumps(described, default=str))  # type: ignore[no-any-return]
