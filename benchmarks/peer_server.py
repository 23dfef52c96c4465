"""The peer's way, as honestly as it can be written: one CSV inside one JSON, decoded and encoded in the endpoint.

What the peer's container does for `POST /fit` and `/apply` (FastAPI on uvicorn, here with httptools and uvloop, on a
Unix socket): parse the JSON, `pd.read_csv` the data, call the module, `to_csv` the result into a JSON. Nothing is
added that would slow it down.
"""

import importlib.util
import json
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from benchmarks.parent import end_with_parent


def load_module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("constant", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_staged(df: pd.DataFrame, name: str, meta: Any) -> None:
    Path("data").mkdir(exist_ok=True)
    df.to_csv(f"data/{name}.csv", index=False)
    Path(f"data/{name}.json").write_text(json.dumps(meta))


def make_app(module: Any) -> FastAPI:
    app = FastAPI()
    models: dict[str, Any] = {}

    def answer(df: pd.DataFrame) -> Response:
        content = {"status": "success", "message": "", "results": df.to_csv(index=False)}
        return Response(json.dumps(content), media_type="application/json")

    @app.post("/fit")
    async def fit(request: Request) -> Response:
        sent = await request.json()
        df = pd.read_csv(StringIO(sent["data"]))
        meta = sent["meta"]
        name = meta["options"]["model_name"]
        if meta["options"]["params"].get("mode") == "stage":
            write_staged(df, name, meta)
            return Response(json.dumps({"status": "staged", "message": ""}), media_type="application/json")
        model = module.init(df, meta)
        module.fit(model, df, meta)
        module.save(model, name)
        models[name] = model
        return answer(module.apply(model, df, meta))

    @app.post("/apply")
    async def apply(request: Request) -> Response:
        sent = await request.json()
        df = pd.read_csv(StringIO(sent["data"]))
        name = sent["meta"]["options"]["model_name"]
        if name not in models:
            models[name] = module.load(name)
        return answer(module.apply(models[name], df, sent["meta"]))

    return app


def main(socket: str, module: str, folder: str) -> None:
    os.chdir(folder)
    app = make_app(load_module(Path(module)))
    uvicorn.run(
        app, uds=socket, log_level="warning", access_log=False, http="httptools", loop="uvloop", timeout_keep_alive=600
    )


if __name__ == "__main__":
    end_with_parent()
    main(*sys.argv[1:])
