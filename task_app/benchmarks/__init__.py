"""What can be evaluated. Also imported by whoever plans a run, so importing it is cheap and starts nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from task_app.benchmarks.base import Benchmark, BenchmarkError, Instance, ReferenceFile, Task, Work
from task_app.benchmarks.classic import Classic
from task_app.benchmarks.classic_files import INSTANCES, SCAFFOLD
from task_app.benchmarks.harbor import Harbor
from task_app.benchmarks.harbor_files import tasks_folder
from task_app.benchmarks.hello_world import HelloWorld

__all__ = ["Benchmark", "BenchmarkError", "Instance", "ReferenceFile", "Task", "Work", "open_benchmark"]

MANIFEST = "benchmark.json"

KINDS: Mapping[str, Callable[[Path, str, str], Benchmark]] = {
    "classic": Classic,
    "harbor": Harbor,
    "hello-world": HelloWorld,
}
"""Each makes a benchmark of a folder, a name and a description. A new kind is one file here and one line above."""


class Manifest(BaseModel):
    """What `benchmark.json` says. The file is optional where the layout can be told by looking."""

    kind: str | None = None
    description: str | None = None
    """One line."""


def open_benchmark(folder: Path, name: str | None = None) -> Benchmark:
    """The benchmark in a folder, called `name` or like the folder.

    Raises:
        BenchmarkError: no benchmark is there, or it is broken; names the file and what was expected.
    """
    if not folder.is_dir():
        raise BenchmarkError(f"There is no folder {folder}; expected a benchmark ({', '.join(KINDS)}) there.")
    manifest = _manifest(folder / MANIFEST)
    kind = manifest.kind or _kind_by_looking(folder)
    if kind not in KINDS:
        raise BenchmarkError(f"{folder / MANIFEST}: unknown kind {kind!r}. Kinds: {', '.join(KINDS)}.")
    return KINDS[kind](folder, name or folder.resolve().name, manifest.description or f"A benchmark of kind {kind}.")


def _manifest(path: Path) -> Manifest:
    if not path.exists():
        return Manifest()
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BenchmarkError(f"{path} can't be read: {error.strerror}.") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise BenchmarkError(f'{path}: expected an object such as {{"kind": "classic"}} ({problem}).') from error


def _kind_by_looking(folder: Path) -> str:
    """A clone may hold the instances of the classic layout without the crate that they belong to."""
    classic, harbor = (folder / INSTANCES).is_dir(), tasks_folder(folder) is not None
    if classic and ((folder / SCAFFOLD).is_dir() or not harbor):
        return "classic"
    if harbor:
        return "harbor"
    raise BenchmarkError(
        f"{folder} holds no benchmark: expected {INSTANCES}/*.json (classic layout), [tasks/]<id>/task.toml (Harbor "
        f"layout) or a {MANIFEST}."
    )
