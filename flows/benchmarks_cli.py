"""`engine-bench verify`, `fetch` and `cache`: what there is to do with benchmarks beside running them."""

import asyncio
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from core.settings import Settings
from flows import cache, exit_codes
from flows.fetch import fetch as fetch_clone
from flows.parameters import BenchmarkName
from flows.verify import Checked, summary, table
from flows.verify import verify as verify_benchmark

cache_app = App(name="cache", help="Builds and clones that are kept on this machine to be used again.")


def verify(
    *,
    benchmark: BenchmarkName = "sample",
    path: str = "",
    harbor_root: str = "",
    split: str = "",
    concurrency: int = 2,
) -> int:
    """Check a benchmark: each reference solution has to score 1, each stub at most 0.3. Exits with 1 if one does not.

    Parameters
    ----------
    benchmark
        Which one.
    path
        Folder of the benchmark, for `harbor` and `engine-bench`.
    harbor_root
        Folder with what the images of a benchmark in the Harbor layout hold under /app.
    split
        Part of the benchmark; empty checks it all.
    concurrency
        Instances at a time.
    """
    progress = Console(stderr=True)

    def announce(instances: int) -> None:
        progress.print(f"Getting ready for {instances} instances, with two rollouts each.", highlight=False)

    def tell(checked: Checked) -> None:
        state = "[red]broken[/]" if checked.problems else "[green]fine[/]"
        progress.print(f"{checked.instance:<40} {state}", highlight=False)

    checked = asyncio.run(
        verify_benchmark(
            benchmark,
            Settings(),
            path=path,
            harbor_root=harbor_root,
            split=split,
            concurrency=concurrency,
            on_begin=announce,
            on_checked=tell,
        )
    )
    broken = any(each.problems for each in checked)
    if broken:
        Console().print(table(checked))
    Console().print(summary(checked), highlight=False)
    return exit_codes.FAILED if broken else 0


def fetch(url: str, *, ref: str = "") -> None:
    """Clone EngineBench, shallow, into the cache; `--benchmark engine-bench` uses it where ENGINE_BENCH_DIR is not set.

    Parameters
    ----------
    url
        Where git finds it.
    ref
        A branch, a tag, or a commit of 40 digits; empty takes what HEAD names there.
    """
    clone = fetch_clone(url, Settings(), ref)
    Console().print(f"{clone.instances} instances at commit {clone.commit}", highlight=False)
    Console().print(f"export ENGINE_BENCH_DIR={clone.folder}", highlight=False, soft_wrap=True)


@cache_app.command
def show() -> None:
    """List what is kept, with its size."""
    Console().print(cache.show(Settings()))


@cache_app.command
def clean(*, clones: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Remove the builds.

    Parameters
    ----------
    clones
        Remove fetched clones, too.
    """
    Console().print(cache.cleaned_text(cache.clean(Settings(), clones=clones)), highlight=False)
