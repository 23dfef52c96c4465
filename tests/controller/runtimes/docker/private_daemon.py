"""A private dockerd that tests may kill, restart or fill; the machine's is for everybody."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest


class Daemon:
    """dockerd with its data on a small tmpfs, in a network namespace of its own: one that shares the machine's takes
    away the bridge of the machine's engine."""

    def __init__(self, size_mb: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="labdock-d-", dir="/tmp"))
        self.data = self.folder / "data"
        self.data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", self.data], check=True)
        self.address = f"unix://{self.folder}/d.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers. A killed one's containerd sometimes keeps the next waiting in vain: tried again."""
        for _ in range(3):
            (self.folder / "d.pid").unlink(missing_ok=True)
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    ["unshare", "--net", "dockerd", "-H", self.address, "--data-root", self.data,
                     "--exec-root", self.folder / "exec", "--pidfile", self.folder / "d.pid",
                     "--bridge", "none", "--iptables=false", "--ip-masq=false"],
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            deadline = time.monotonic() + 90
            while self.process.poll() is None and time.monotonic() < deadline:
                if (
                    subprocess.run(["docker", "-H", self.address, "info"], capture_output=True, check=False).returncode
                    == 0
                ):
                    return
                time.sleep(0.2)
            self.kill()
        pytest.fail((self.folder / "log").read_text()[-3000:])

    def load(self, image: str) -> None:
        """Bring an image over from the machine's engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:
            loading = ["docker", "-H", self.address, "load", "-q"]
            subprocess.run(loading, check=True, capture_output=True, stdin=saving.stdout)
        assert saving.returncode == 0

    def kill(self) -> None:
        """Without a chance to tidy up, as a crash."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and everything that names its folder: its containerd, the shims, what they run."""
        if self.process:
            self.kill()
        ours = [psutil.Process(p.pid) for p in psutil.process_iter() if str(self.folder) in " ".join(command(p))]
        everything = [*ours, *(child for one in ours for child in one.children(recursive=True))]
        for one in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(everything, 20)
        points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for point in reversed([point for point in points if point.startswith(str(self.folder))]):
            subprocess.run(["umount", "-l", point], check=True)
        shutil.rmtree(self.folder)


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
