"""`<base>/labdock/notebooks`: the kinds of notebook to start a module from (GET), and a new one of a kind (POST)."""

import json
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from labdock import templates
from labdock.errors import LabdockError
from labdock_container.jupyter import contents


class NewNotebooksHandler(APIHandler):
    @web.authenticated
    def get(self) -> None:
        kinds = [{"kind": kind, "title": template.title} for kind, template in templates.TEMPLATES.items()]
        self.finish(json.dumps({"kinds": kinds}))

    @web.authenticated
    def post(self) -> None:
        """`{kind, folder}`: `my_<kind>.ipynb` in the folder, numbered where one is there; `{path}`, 201."""
        body: Any = self.get_json_body()
        kind, folder = (body.get("kind"), body.get("folder") or "") if isinstance(body, dict) else (None, "")
        if not isinstance(kind, str) or not isinstance(folder, str):
            raise web.HTTPError(400, "The body is {kind, folder}, both texts")
        root = Path(self.contents_manager.root_dir)
        try:
            path = templates.write_numbered(inside(root, folder), f"my_{kind}", kind, root / "modules")
        except LabdockError as error:
            raise web.HTTPError(400, f"{error.message} {error.remedy}") from None
        except OSError as error:
            raise web.HTTPError(400, f"The notebook could not be written: {error.strerror}") from None
        contents.publish(root, path)
        self.set_status(201)
        self.finish(json.dumps({"path": path.relative_to(root).as_posix()}))


def inside(root: Path, folder: str) -> Path:
    """The folder below `root`, a hidden one or one elsewhere refused. Raises `HTTPError`."""
    path = root / folder.strip("/")
    shown = not any(part.startswith(".") for part in Path(folder.strip("/")).parts)
    if not shown or not path.is_dir() or not path.resolve().is_relative_to(root.resolve()):
        raise web.HTTPError(404, f"There is no folder {folder!r}")
    return path


def handlers(base_url: str) -> list[tuple[str, type[NewNotebooksHandler]]]:
    return [(url_path_join(base_url, "labdock", "notebooks"), NewNotebooksHandler)]
