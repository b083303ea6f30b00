"""A disk that gets full."""

import subprocess
import threading
from contextlib import suppress
from pathlib import Path


class SmallDisk:
    """A folder that can be made a file system of its own, and filled."""

    SIZE = "64m"

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._filler = path / "filler"
        self._mounted = False
        self._filling: threading.Thread | None = None
        self._emptied = threading.Event()

    def mount(self) -> None:
        """Needs root. Must come before anything is written."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", str(self.path)]
        subprocess.run(command, check=True, capture_output=True)
        self._mounted = True

    def fill(self) -> None:
        """To the last byte, and keep it so: what is removed meanwhile makes room."""
        self._fill_once()
        self._filling = threading.Thread(target=self._keep_full, daemon=True)
        self._filling.start()

    def empty(self) -> None:
        self._emptied.set()
        if self._filling:
            self._filling.join()
        self._filler.unlink(missing_ok=True)

    def _keep_full(self) -> None:
        while not self._emptied.wait(0.005):
            self._fill_once()

    def _fill_once(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def unmount(self) -> None:
        if self._mounted:
            self.empty()
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
