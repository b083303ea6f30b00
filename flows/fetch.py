"""Gets a clone of EngineBench: shallow, at one commit, below the cache directory."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings
from task_app.benchmarks import open_benchmark
from task_app.errors import TaskAppError

_TIMEOUT = 900
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CURRENT = "current"
"""A file that names the clone that was fetched last."""


@dataclass(frozen=True)
class Clone:
    folder: Path
    commit: str
    """40 hexadecimal digits."""
    instances: int


def clones_dir(settings: Settings) -> Path:
    return settings.cache_dir.expanduser().resolve() / "clones"


def latest(settings: Settings) -> Path | None:
    """The clone that was fetched last, if it is still there."""
    note = clones_dir(settings) / _CURRENT
    folder = clones_dir(settings) / note.read_text().strip() if note.is_file() else None
    return folder if folder and folder.is_dir() else None


def fetch(url: str, settings: Settings, ref: str = "") -> Clone:
    """Get a repository at a branch, tag or commit (default: what its HEAD names); nothing to do for a known commit.

    Raises:
        ConfigurationError: git is missing, or what came is no benchmark.
        InfrastructureError: git could not fetch it; the message has git's own words.
    """
    clones = clones_dir(settings)
    clones.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = _known(clones, url, ref) or _download(clones, url, ref)
    try:
        instances = len(open_benchmark(folder).instances())
    except TaskAppError as error:
        shutil.rmtree(folder)
        raise ConfigurationError(f"{_shown(url)} holds no benchmark. {error}") from error
    (clones / _CURRENT).write_text(folder.name)
    return Clone(folder, folder.name.rpartition("-")[2], instances)


def _known(clones: Path, url: str, ref: str) -> Path | None:
    folder = clones / f"{_slug(url)}-{ref}"
    return folder if _COMMIT.fullmatch(ref) and folder.is_dir() else None


def _download(clones: Path, url: str, ref: str) -> Path:
    work = Path(tempfile.mkdtemp(prefix=".fetching-", dir=clones))
    try:
        _git(work, url, "init", "--quiet", "--template=")
        # Not by the name of a remote: the address may hold a token, and would be written down.
        _git(work, url, "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, ref or "HEAD")
        _git(work, url, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        folder = clones / f"{_slug(url)}-{_git(work, url, 'rev-parse', 'HEAD')}"
        (work / ".git" / "FETCH_HEAD").unlink()
        if not folder.is_dir():
            work.rename(folder)
        return folder
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _git(folder: Path, url: str, *words: str) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *words],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=_TIMEOUT,
        )
    except FileNotFoundError:
        raise ConfigurationError("Fetching needs git, which was not found on PATH. Install it.") from None
    except subprocess.TimeoutExpired:
        raise InfrastructureError(f"git took longer than {_TIMEOUT} s to fetch {_shown(url)}. Try again.") from None
    if done.returncode != 0:
        lines = done.stderr.replace(url, _shown(url)).splitlines()
        said = next((line for line in lines if line.startswith("fatal:")), f"exit code {done.returncode}").rstrip(".")
        raise InfrastructureError(
            f"git can't fetch {_shown(url)}: {said}. Check the address, and --ref: a branch, a tag, or a commit of 40 "
            "digits."
        )
    return done.stdout.strip()


def _slug(url: str) -> str:
    name = url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "clone"


def _shown(url: str) -> str:
    """Without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
