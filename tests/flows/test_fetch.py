"""Fetching clones, where a benchmark is looked for, and what is kept and cleaned."""

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings
from flows import cache
from flows.benchmarks import benchmark_dir, commit, parts
from flows.fetch import fetch, latest
from tests import synthetic


def git(folder: Path, *words: str) -> str:
    as_someone = ["git", "-C", str(folder), "-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    return subprocess.run([*as_someone, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with two commits: three instances at the first, which is tagged, then four."""
    folder = tmp_path / "engine-bench.git"
    for instances in (3, 4):
        synthetic.write_classic(folder, instances=instances, lines=100)
        if instances == 3:
            git(folder, "init", "--quiet")
            git(folder, "config", "uploadpack.allowReachableSHA1InWant", "true")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", f"{instances} instances")
        if instances == 3:
            git(folder, "tag", "first")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", dir=None)


def test_what_is_fetched_is_pinned_shallow_and_used(origin: Path, settings: Settings) -> None:
    assert latest(settings) is None
    url = f"file://{origin}"
    clone = fetch(url, settings)
    assert (clone.commit, clone.instances) == (git(origin, "rev-parse", "HEAD"), 4)
    assert commit(clone.folder) == clone.commit
    assert git(clone.folder, "rev-list", "--count", "HEAD") == "1"
    assert benchmark_dir("engine-bench", settings) == clone.folder
    first = fetch(url, settings, "first")
    assert (first.commit, first.instances) == (git(origin, "rev-parse", "first"), 3)
    assert benchmark_dir("engine-bench", settings) == first.folder
    assert fetch(url, settings).folder == clone.folder


def test_a_known_commit_takes_no_network(origin: Path, settings: Settings, tmp_path: Path) -> None:
    url, first = f"file://{origin}", git(origin, "rev-parse", "first")
    clone = fetch(url, settings, first)
    assert (clone.commit, clone.instances) == (first, 3)
    origin.rename(tmp_path / "gone")
    assert fetch(url, settings, first) == clone


def test_what_can_not_be_fetched(origin: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"git can't fetch file:///nowhere: fatal: .*Check the address"):
        fetch("file:///nowhere", settings)
    with pytest.raises(InfrastructureError, match="no-such-branch"):
        fetch(f"file://{origin}", settings, "no-such-branch")
    with pytest.raises(InfrastructureError, match="not allowed"):
        fetch("ext::sh -c touch% /tmp/pwned", settings)
    git(origin, "rm", "-r", "--quiet", ".")
    git(origin, "commit", "--quiet", "--allow-empty", "--message", "Nothing")
    with pytest.raises(ConfigurationError, match=f"file://{origin} holds no benchmark"):
        fetch(f"file://{origin}", settings)
    assert list((settings.cache_dir / "clones").iterdir()) == []
    assert latest(settings) is None


def test_no_password_is_told_or_kept(settings: Settings) -> None:
    with pytest.raises(InfrastructureError) as refused:
        fetch("https://someone:hunter2@127.0.0.1:1/x.git", settings)
    assert "hunter2" not in str(refused.value)
    assert "https://127.0.0.1:1/x.git" in str(refused.value)


def test_where_a_benchmark_is_looked_for(settings: Settings, tmp_path: Path) -> None:
    assert (benchmark_dir("sample", settings) / "scaffold").is_dir()
    assert benchmark_dir("harbor", settings, str(tmp_path)) == tmp_path
    assert benchmark_dir("engine-bench", settings, str(tmp_path)) == tmp_path
    assert benchmark_dir("engine-bench", Settings(dir=tmp_path)) == tmp_path
    with pytest.raises(ConfigurationError, match="--path DIR"):
        benchmark_dir("harbor", settings)
    with pytest.raises(ConfigurationError, match=r"ENGINE_BENCH_DIR is not set.*engine-bench fetch URL"):
        benchmark_dir("engine-bench", settings)


def test_what_goes_into_a_bundle(tmp_path: Path) -> None:
    assert parts(tmp_path) == {"benchmark": tmp_path}
    assert parts(tmp_path, str(tmp_path)) == {"benchmark": tmp_path, "benchmark/harbor-root": tmp_path}
    with pytest.raises(ConfigurationError, match="There is no folder"):
        parts(tmp_path, str(tmp_path / "nowhere"))


def test_the_commit_of_a_clone(origin: Path, tmp_path: Path) -> None:
    assert commit(origin) == git(origin, "rev-parse", "HEAD")
    (origin / "new").touch()
    assert commit(origin) == git(origin, "rev-parse", "HEAD") + "-dirty"
    assert commit(origin / "data") is None, "a folder within somebody's repository is no clone"
    assert commit(tmp_path) is None


def test_the_cache_is_shown_and_cleaned(origin: Path, settings: Settings) -> None:
    clone = fetch(f"file://{origin}", settings)
    build = settings.builds_dir / f"build-{'0' * 64}"
    build.mkdir(parents=True)
    (build / "file").write_bytes(b"x" * 100_000)
    console = Console(width=200, record=True)
    console.print(cache.show(settings))
    shown = console.export_text()
    assert "build-000000" in shown
    assert f"clone {clone.folder.name}" in shown
    assert "of at most 5120.0 MiB" in shown
    assert cache.clean(settings).entries == 1
    assert (build.exists(), clone.folder.exists()) == (False, True)
    assert cache.clean(settings, clones=True).entries == 1
    assert not clone.folder.exists()
    assert latest(settings) is None
    assert cache.cleaned_text(cache.clean(settings)) == "Removed 0 entries, 0.0 MiB."
    assert cache.cleaned_text(cache.Cleaned(1, 1 << 20)) == "Removed 1 entry, 1.0 MiB."
    console.print(cache.show(settings))
    assert console.export_text().startswith("0.0 MiB of at most"), "there is no table of nothing"
