"""The run folder that a container shares, and the controller's id."""

import os
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labdock_controller.runtimes.docker.folders import (
    container_user,
    controller_id,
    make_run_folder,
    remove_run_folder,
)


@pytest.fixture
def run() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path) / "run"


def facts(path: Path) -> tuple[int, int, str]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.filemode(found.st_mode)


def test_the_containers_user_owns_its_folder_and_nobody_else_gets_there(run: Path) -> None:
    folder = run / "0123456789ab"
    make_run_folder(folder, "canary")
    uid, gid = container_user()
    gid = gid if os.geteuid() == 0 else os.getegid()
    assert uid != 0
    assert facts(run) == (os.geteuid(), os.getegid(), "drwx------")
    assert facts(folder) == (uid, gid, "drwx------")
    assert facts(folder / "spool") == (uid, gid, "drwx------")
    assert facts(folder / "token") == (uid, gid, "-rw-------")
    assert (folder / "token").read_text() == "canary"


def test_what_an_old_container_left_is_neither_used_nor_followed(run: Path) -> None:
    victim = run.parent / "victim"
    victim.mkdir(mode=0o755)
    (victim / "file").write_text("untouched")
    folder = run / "0123456789ab"
    make_run_folder(folder, "one")
    (folder / "spool").rmdir()
    (folder / "spool").symlink_to(victim)
    (folder / "token").unlink()
    (folder / "token").symlink_to(victim / "file")
    make_run_folder(folder, "two")
    assert stat.S_ISDIR((folder / "spool").lstat().st_mode)
    assert stat.S_ISREG((folder / "token").lstat().st_mode)
    assert (victim / "file").read_text() == "untouched"
    assert facts(victim)[2] == "drwxr-xr-x"


def test_a_folder_that_became_a_link_is_removed_and_its_target_is_not(run: Path) -> None:
    run.mkdir()
    target = run.parent / "target"
    target.mkdir()
    (run / "0123456789ab").symlink_to(target)
    remove_run_folder(run / "0123456789ab")
    assert target.is_dir()
    assert list(run.iterdir()) == []
    remove_run_folder(run / "0123456789ab")  # once more: nothing there is no error


def test_folders_without_rights_are_removed(run: Path) -> None:
    """As another user than root, which stops at no rights."""
    folder = run / "0123456789ab"
    (folder / "closed" / "deep").mkdir(parents=True)
    (folder / "closed" / "deep").chmod(0)
    (folder / "closed").chmod(0)
    if os.geteuid() != 0:
        remove_run_folder(folder)
        assert not folder.exists()
        return
    for path in (run, folder, folder / "closed", folder / "closed" / "deep"):
        os.chown(path, 1001, 1001)
    run.parent.chmod(0o755)
    if os.fork() == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(1001)
            os.setuid(1001)
            remove_run_folder(folder)
            code = 0
        finally:
            os._exit(code)
    assert os.wait()[1] == 0
    assert list(run.iterdir()) == []


def test_the_id_is_made_once_whoever_comes_first(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(controller_id, [home] * 64))
    assert len(found) == 1
    assert int(found.pop(), 16) >= 0
    assert [path.name for path in home.iterdir()] == ["controller-id"]
    assert controller_id(tmp_path / "other") != controller_id(home)
