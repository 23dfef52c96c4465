"""Jupyter's contents manager, with one addition: modules follow their notebooks."""

from pathlib import Path
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from labdock_container.cells import Finding
from labdock_container.module_files import ModuleFiles

# What the last export of each notebook found, by its path below the notebooks folder, for the JupyterLab extension.
latest: dict[str, list[Finding]] = {}


def export_saved(model: dict[str, Any], os_path: str, contents_manager: Any, **_: Any) -> None:
    """Jupyter's post-save hook. A notebook is saved whatever happens here: what goes wrong becomes a finding."""
    if model.get("type") == "notebook" or os_path.endswith(".ipynb"):
        publish(Path(contents_manager.root_dir), Path(os_path))


def publish(root: Path, path: Path) -> list[Finding]:
    """Export one notebook now and remember what was found."""
    notebook = path.relative_to(root).as_posix()
    try:
        found = ModuleFiles(root).publish(notebook)
    except OSError as error:
        found = [
            Finding(
                "error",
                f"{notebook} is saved, but its module could not be written: {error.strerror or error}.",
                "Make room or correct the folder's rights, then save again.",
            )
        ]
    latest[notebook] = found
    return found


class NotebookContents(AsyncLargeFileManager):
    """Files on disk; a saved, renamed or deleted notebook takes its module along."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register_post_save_hook(export_saved)  # type: ignore[no-untyped-call]

    async def rename_file(self, old_path: str, new_path: str) -> None:
        await super().rename_file(old_path, new_path)  # type: ignore[no-untyped-call]
        old, new = old_path.strip("/"), new_path.strip("/")
        root = Path(self.root_dir)
        self._forget(old)
        moved = root / new
        for path in sorted(moved.rglob("*.ipynb")) if moved.is_dir() else [moved]:
            if path.suffix == ".ipynb" and not any(p.startswith(".") for p in path.relative_to(root).parts):
                publish(root, path)

    async def delete_file(self, path: str) -> None:
        await super().delete_file(path)  # type: ignore[no-untyped-call]
        self._forget(path.strip("/"))

    def _forget(self, path: str) -> None:
        ModuleFiles(Path(self.root_dir)).forget(path)
        for notebook in [n for n in latest if n == path or n.startswith(f"{path}/")]:
            del latest[notebook]
