"""Where a run's benchmark comes from: bundled, the user's clone, one that was fetched, or any folder."""

import subprocess
from pathlib import Path

from core.errors import ConfigurationError
from core.settings import Settings
from flows import fetch
from task_app.benchmarks import Benchmark
from task_app.benchmarks.harbor import Harbor
from task_app.benchmarks.harbor_image import image_root
from task_app.errors import InfrastructureFailure

BUNDLED = Path(__file__).resolve().parent.parent / "benchmarks"
HARBOR_ROOT = "harbor-root"
"""Where a benchmark in the Harbor layout has what its images hold (`task_app/benchmarks/harbor_image.py`)."""


def benchmark_dir(name: str, settings: Settings, path: str = "") -> Path:
    """The folder that holds a benchmark; `path` names it for `harbor`, and may for `engine-bench`.

    Raises:
        ConfigurationError: no folder was named.
    """
    if name not in ("engine-bench", "harbor"):
        return BUNDLED / name
    if path:
        return Path(path).expanduser().resolve()
    if name == "harbor":
        raise ConfigurationError("Name the folder of the Harbor dataset: `--benchmark harbor --path DIR`.")
    if settings.dir is not None:
        return settings.dir.expanduser().resolve()
    if (fetched := fetch.latest(settings)) is not None:
        return fetched
    raise ConfigurationError(
        "ENGINE_BENCH_DIR is not set. Set it to your clone of EngineBench, get one with `engine-bench fetch URL`, "
        "or use `--benchmark sample`."
    )


def parts(folder: Path, harbor_root: str = "") -> dict[str, Path]:
    """What of a benchmark goes into a bundle, by name there.

    Raises:
        ConfigurationError: `harbor_root` is given, and is no folder.
    """
    if not harbor_root:
        return {"benchmark": folder}
    root = Path(harbor_root).expanduser().resolve()
    if not root.is_dir():
        raise ConfigurationError(
            f"There is no folder {root}. --harbor-root names one that holds what the tasks' images hold under /app."
        )
    return {"benchmark": folder, f"benchmark/{HARBOR_ROOT}": root}


def require_images(benchmark: Benchmark, folder: Path, harbor_root: str = "") -> None:
    """Raises ConfigurationError for a benchmark in the Harbor layout if nobody says what its images hold."""
    if isinstance(benchmark, Harbor) and not harbor_root:
        try:
            image_root(folder, benchmark.instances()[0].id)
        except InfrastructureFailure as error:
            raise ConfigurationError(str(error)) from error


def commit(folder: Path) -> str | None:
    """The commit that a clone is at, with `-dirty` where files differ from it; None for what is no clone of its own."""
    if not (folder / ".git").exists():
        return None
    head, status = (_git(folder, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain")))
    return None if head is None else head + ("-dirty" if status else "")


def _git(folder: Path, *words: str) -> str | None:
    """None where git is not there, or does not like the folder."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
