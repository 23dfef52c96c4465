"""ONNX models over the Open Inference Protocol, version 2, and over Arrow."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

import labdock
from labdock.errors import InvalidFrame, InvalidOptions
from labdock.wire import ARROW_STREAM
from labdock_controller.access.rights import OPEN, Principal
from labdock_controller.model_rows import Model, Version
from labdock_controller.services import Services
from labdock_controller.web.guard import needs
from labdock_controller.web.problems import Problem
from labdock_controller.web.received import receive, upload
from labdock_controller.web.state import Here, Me

if TYPE_CHECKING:
    from labdock_search.onnx import OnnxModel

router = APIRouter(prefix="/v2", tags=["inference"])
HEAD = "Inference-Header-Content-Length"
MAX_TENSORS = 256 << 20
MAX_FRAME = 8 << 30
AT_ONCE = 4  # predictions; more wait, so that no other route does
_limiter = CapacityLimiter(AT_ONCE)
Found = tuple[Model, Version, "OnnxModel"]


@router.get("")
@needs("search")
def server() -> dict[str, Any]:
    """What answers here."""
    return {"name": "labdock", "version": labdock.__version__, "extensions": ["binary_tensor_data"]}


@router.get("/health/live")
@needs(OPEN)
def live() -> dict[str, bool]:
    return {"live": True}


@router.get("/health/ready")
@needs(OPEN)
def ready() -> dict[str, bool]:
    return {"ready": True}


def _find(services: Services, principal: Principal, name: str, version: str) -> Found:
    """The model that `onnx:name@version` would be in a search of this user, loaded."""
    model = services.models.get(name, principal, kind="onnx")
    wanted = model.at(version)
    services.models.uses.note(model.id)
    return model, wanted, services.onnx.load(model, wanted)


async def _answer(work: Callable[[], Awaitable[Response]]) -> Response:
    """What is wrong with tensors is a 400 in this protocol."""
    try:
        return await work()
    except (InvalidFrame, InvalidOptions) as error:
        raise Problem(error, 400) from None


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
@needs("search")
async def metadata(services: Here, principal: Me, name: str, version: str = "") -> Response:
    """Inputs, outputs and versions of a model."""

    def describe() -> dict[str, Any]:
        from labdock_controller import inference  # noqa: PLC0415 - ONNX Runtime comes with the first model

        return inference.metadata(*_find(services, principal, name, version))

    async def work() -> Response:
        return JSONResponse(await anyio.to_thread.run_sync(describe, limiter=_limiter))

    return await _answer(work)


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
@needs("search")
async def model_ready(services: Here, principal: Me, name: str, version: str = "") -> Response:
    """Whether the model can be used; loads it."""

    async def work() -> Response:
        await anyio.to_thread.run_sync(_find, services, principal, name, version, limiter=_limiter)
        return JSONResponse({"name": name, "ready": True})

    return await _answer(work)


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
@needs("search", max_body=MAX_TENSORS)
async def infer(services: Here, principal: Me, request: Request, name: str, version: str = "") -> Response:
    """Predictions for tensors, in JSON or as binary data."""
    body = await request.body()

    def compute() -> tuple[bytes, int | None]:
        from labdock_controller import inference  # noqa: PLC0415 - as above

        head = request.headers.get(HEAD)
        if head is not None and not (head.isdecimal() and int(head) <= len(body)):
            raise InvalidOptions(f"{HEAD} is {head!r}.", remedy="Send the length of the JSON object.")
        found = _find(services, principal, name, version)
        return inference.infer(*found, body, None if head is None else int(head)).body()

    async def work() -> Response:
        content, size = await anyio.to_thread.run_sync(compute, limiter=_limiter)
        headers = {} if size is None else {HEAD: str(size)}
        media = "application/json" if size is None else "application/octet-stream"
        return Response(content, media_type=media, headers=headers)

    return await _answer(work)


@router.post("/models/{name}/arrow")
@router.post("/models/{name}/versions/{version}/arrow")
@needs("search", max_body=MAX_FRAME)
async def arrow(
    services: Here,
    principal: Me,
    request: Request,
    name: str,
    version: str = "",
    details: Annotated[bool, Query(description="also probabilities and scores")] = False,
) -> Response:
    """Predictions for the rows of an Arrow stream, as one: `predicted(<target>)`, null where a feature is null."""
    _, _, loaded = await asyncio.to_thread(_find, services, principal, name, version)

    with upload(services, "frame.arrow") as path:
        await receive(request, path)

        def compute() -> bytes:
            import pyarrow as pa  # noqa: PLC0415 - as above: the controller starts without

            with pa.memory_map(str(path)) as file:
                try:
                    with pa.ipc.open_stream(file) as reader:
                        table = reader.read_all()
                    table.validate(full=True)
                except (pa.ArrowException, OSError) as error:
                    raise InvalidFrame(
                        f"The body is no Arrow stream: {str(error)[:200]}.", remedy="Send an Arrow IPC stream."
                    ) from None
                if len(set(table.column_names)) < table.num_columns:
                    raise InvalidFrame("Two columns have the same name.", remedy="Name each once.")
                found = loaded.predict(table, details=details)
            answer = pa.table(found.columns)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, answer.schema) as writer:
                writer.write_table(answer)
            content: bytes = sink.getvalue().to_pybytes()
            return content

        content = await anyio.to_thread.run_sync(compute, limiter=_limiter)
    return Response(content, media_type=ARROW_STREAM)
