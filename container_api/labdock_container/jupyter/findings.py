"""`GET <base>/labdock/findings?path=<notebook>`: what the last export of a notebook found."""

import json
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from labdock_container.jupyter import contents


class FindingsHandler(APIHandler):
    @web.authenticated
    def get(self) -> None:
        path = self.get_query_argument("path").strip("/")
        found = contents.latest.get(path)
        if found is None:
            found = self._exported_now(path)
        self.finish(json.dumps({"path": path, "findings": [f.to_dict() for f in found]}))

    def _exported_now(self, path: str) -> list[Any]:
        root = Path(self.contents_manager.root_dir)
        parts = Path(path).parts
        if not path.endswith(".ipynb") or any(p.startswith(".") for p in parts) or not (root / path).is_file():
            raise web.HTTPError(404, f"There is no notebook {path!r}")
        return contents.publish(root, root / path)


def handlers(base_url: str) -> list[tuple[str, type[FindingsHandler]]]:
    return [(url_path_join(base_url, "labdock", "findings"), FindingsHandler)]
