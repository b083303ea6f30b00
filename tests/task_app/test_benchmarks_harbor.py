"""Reading the Harbor layout: what is found, hidden and refused, what an image holds, what a reward says."""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from task_app.benchmarks import BenchmarkError, open_benchmark
from task_app.benchmarks.base import StoredFile, Task
from task_app.benchmarks.dockerfile import read as read_dockerfile
from task_app.benchmarks.harbor_files import load
from task_app.benchmarks.harbor_image import image_root, stage
from task_app.benchmarks.harbor_reward import read_grade
from task_app.benchmarks.harbor_toml import read, resolve
from task_app.benchmarks.harbor_work import apply_changes, collect_changes, snapshot
from task_app.collect import UnusableSource
from task_app.errors import InfrastructureFailure
from tests import synthetic


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Four cards and one task that is none, whose whole folder counts."""
    folder = tmp_path / "clone"
    synthetic.write_harbor(folder, instances=4, lines=100)
    other = folder / "tasks" / "sort-numbers"
    for name, text in {
        "task.toml": '[metadata]\ncategory = "Scripts"\ndifficulty = "hard"\n',
        "instruction.md": "# canary GUID 1\n\nSort `numbers.txt`.\n",
        "tests/test.sh": "echo 1 > /logs/verifier/reward.txt\n",
    }.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(text)
    return folder


def test_the_layout_is_found_by_looking(clone: Path) -> None:
    benchmark = open_benchmark(clone)
    assert [(instance.id, instance.split, instance.difficulty) for instance in benchmark.instances()] == [
        ("df-001-specimen", "df", 9),
        ("df-002-specimen", "df", 10),
        ("hp-001-specimen", "hp", 9),
        ("hp-002-specimen", "hp", 10),
        ("sort-numbers", "scripts", 3),
    ]
    assert benchmark.splits == ("df", "hp", "scripts", "easy", "hard")
    assert benchmark.tools == ("bash", "cargo", "rustc")
    assert [instance.id for instance in open_benchmark(clone / "tasks").instances()] == [
        instance.id for instance in benchmark.instances()
    ], "the tasks' own folder will do"


def test_both_layouts_rank_and_split_alike(clone: Path, tmp_path: Path) -> None:
    synthetic.write_classic(tmp_path / "classic", instances=4, lines=100)
    classic = open_benchmark(tmp_path / "classic").instances()
    harbor = open_benchmark(clone).instances()[:4]
    assert [(one.id, one.split, one.difficulty) for one in classic] == [
        (one.id, one.split, one.difficulty) for one in harbor
    ]


def test_a_clone_with_instances_but_no_crate_is_in_the_harbor_layout(clone: Path, tmp_path: Path) -> None:
    synthetic.write_classic(tmp_path / "both", instances=2, lines=100)
    (clone / "tasks").rename(tmp_path / "both" / "tasks")
    assert len(open_benchmark(tmp_path / "both").instances()) == 2, "the crate is there"
    (tmp_path / "both" / "scaffold").rename(tmp_path / "gone")
    assert len(open_benchmark(tmp_path / "both").instances()) == 5


def test_what_a_task_says(clone: Path) -> None:
    tasks = load(clone)
    card, other = tasks["hp-002-specimen"], tasks["sort-numbers"]
    assert card.file == PurePosixPath("src/hp/cards/hp_002_specimen.rs")
    assert card.instruction.startswith("# Specimen 2\n")
    assert "canary" not in card.instruction + other.instruction
    assert (card.tests_total, card.config.agent.timeout_sec, card.config.environment.memory_mb) == (3, 600, 8192)
    assert card.unit_tests is not None
    assert "mod behaviour" in card.unit_tests
    assert (other.file, other.unit_tests, other.tests_total, dict(other.solution)) == (None, None, 1, {})


def test_nobody_is_told_the_solution_or_the_tests(clone: Path) -> None:
    benchmark = open_benchmark(clone)
    told = "".join(instance.model_dump_json() for instance in benchmark.instances())
    assert not [secret for secret in ("game.hit", "eval_tests", "solve.sh", "assert_eq") if secret in told]
    assert benchmark.reference(benchmark.instances()[0]) is not None
    assert benchmark.reference(benchmark.instances()[4]) is None
    assert "game.hit" not in repr(benchmark.reference(benchmark.instances()[0]))


def test_sealing_leaves_secrets_in_memory_alone(clone: Path) -> None:
    (clone / "notes").mkdir()
    (clone / "notes/solutions.md").write_text("game.hit")
    (clone / "tasks/df-001-specimen/README.md").write_text("game.hit")
    (clone / "tasks").rename(clone / "dataset-tasks")
    (clone / "dataset").mkdir()
    (clone / "dataset-tasks").rename(clone / "dataset/tasks")
    benchmark = open_benchmark(clone)
    benchmark.seal()
    assert {path.name for path in clone.iterdir()} == {"dataset", "harbor-root", "harbor.sealed"}
    left = "".join(path.read_text() for path in (clone / "dataset").rglob("*") if path.is_file())
    assert not [secret for secret in ("game.hit", "eval_tests", "reward") if secret in left]
    assert benchmark.reference(benchmark.instances()[0]) is not None
    with pytest.raises(BenchmarkError, match="Upload the benchmark again"):
        open_benchmark(clone)


def test_nothing_is_removed_from_somebodys_clone(clone: Path, tmp_path: Path) -> None:
    synthetic.write_classic(tmp_path / "classic", instances=2, lines=100)
    for folder in (clone, tmp_path / "classic"):
        (folder / ".git").mkdir()
        before = _names(folder)
        with pytest.raises(BenchmarkError, match="is a clone"):
            open_benchmark(folder).seal()
        assert _names(folder) == before


def _without(path: str) -> Callable[[Path], None]:
    return lambda task: (task / path).unlink()


def _with(path: str, text: str) -> Callable[[Path], None]:
    def write(task: Path) -> None:
        (task / path).write_text(text)

    return write


@pytest.mark.parametrize(
    ("break_it", "file", "expected"),
    [
        (_without("instruction.md"), "instruction.md", "what the agent is told"),
        (_with("instruction.md", "<!-- canary -->\n\n"), "instruction.md", "says nothing"),
        (_without("tests/test.sh"), "tests/test.sh", "the script that scores the task"),
        (_without("solution/solve.sh"), "solution/solve.sh", "what applies the solution"),
        (_with("task.toml", "version = "), "task.toml", "no TOML"),
        (_with("task.toml", 'version = "2.0"'), "task.toml", "pattern"),
        (_with("task.toml", "[agent]\ntimeout_sec = -1"), "task.toml", "`agent.timeout_sec`"),
        (_with("task.toml", "[agent]\ntimeout = 1"), "task.toml", "`agent.timeout` is not known"),
        (_with("task.toml", '[agent]\nuser = "root"'), "task.toml", "`agent.user`: no jail has the rights of root"),
        (_with("task.toml", "[verifier]\nuser = 0"), "task.toml", "`verifier.user`: no jail has the rights of 0"),
        (_with("task.toml", '[agent]\nuser = "00"'), "task.toml", "`agent.user`: no jail has the rights of 00"),
        (_with("task.toml", '[agent]\nuser = "a b"'), "task.toml", "`agent.user`: 'a b' is no user"),
        (_with("task.toml", "[agent]\nuser = 65536"), "task.toml", "`agent.user`: '65536' is no user"),
        (_with("task.toml", "[environment]\ngpus = 1"), "task.toml", "`environment.gpus`: graphics"),
        (_with("task.toml", '[environment]\nskills_dir = "/s"'), "task.toml", "`environment.skills_dir`: skills"),
        (_with("task.toml", "[[environment.mcp_servers]]\nname = 'x'"), "task.toml", "MCP servers"),
        (_with("task.toml", '[environment]\nnetwork_mode = "allowlist"'), "task.toml", "`environment.network_mode`"),
        (_with("task.toml", '[agent]\nallowed_hosts = ["x.org"]'), "task.toml", "`agent.allowed_hosts`"),
        (_with("task.toml", "[[steps]]\nname = 'x'"), "task.toml", "`steps`: tasks of several steps"),
        (_with("task.toml", '[verifier]\nenvironment_mode = "separate"'), "task.toml", "`verifier.environment_mode`"),
        (_with("environment/docker-compose.yaml", ""), "environment/docker-compose.yaml", "several containers"),
    ],
)
def test_what_is_broken_or_unsupported_is_named(
    clone: Path, break_it: Callable[[Path], None], file: str, expected: str
) -> None:
    task = clone / "tasks" / "df-001-specimen"
    break_it(task)
    with pytest.raises(BenchmarkError) as refused:
        open_benchmark(clone)
    assert str(task / file) in str(refused.value)
    assert expected in str(refused.value)


def test_all_that_a_task_toml_may_say(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text("""
        schema_version = "1.3"
        artifacts = []
        [task]
        name = "org/task"
        authors = [{ name = "N" }]
        [agent]
        user = "agent"
        [verifier]
        user = 1000
        timeout_sec = 9.5
        environment_mode = "shared"
        network_mode = "public"
        env = { MODE = "${MODE:-fast}" }
        [environment]
        docker_image = "image:1"
        memory = "4G"
        storage = "512M"
        gpus = 0
        allow_internet = false
        env = { TOKEN = "x${TOKEN}y" }
        [environment.healthcheck]
        command = "true"
        retries = 2
    """)
    config = read(tmp_path / "task.toml")
    assert (config.environment.memory_mb, config.environment.storage_mb) == (4096, 512)
    assert (config.network(config.agent), config.network(config.verifier)) == (False, True)
    assert (config.agent.uid, config.agent.account) == (None, {"USER": "agent", "LOGNAME": "agent"})
    assert (config.verifier.uid, config.verifier.account) == (1000, {"USER": "1000", "LOGNAME": "1000"})
    assert config.environment.healthcheck is not None
    assert config.environment.healthcheck.retries == 2
    assert resolve(config.verifier.env, {}) == {"MODE": "fast"}
    assert resolve(config.verifier.env, {"MODE": ""}) == {"MODE": "fast"}
    assert resolve(config.environment.env, {"TOKEN": "1"}) == {"TOKEN": "x1y"}
    with pytest.raises(KeyError, match="TOKEN"):
        resolve(config.environment.env, {})


def test_without_the_images_content_it_says_why_and_how(clone: Path) -> None:
    (clone / "harbor-root" / "df-001-specimen").mkdir()
    assert image_root(clone, "df-001-specimen") == clone / "harbor-root" / "df-001-specimen"
    assert image_root(clone, "df-002-specimen") == clone / "harbor-root"
    with pytest.raises(InfrastructureFailure, match=r"--harbor-root DIR.*docker cp"):
        image_root(clone / "tasks", "df-001-specimen")


@pytest.mark.parametrize(
    ("dockerfile", "app", "outside", "setup"),
    [
        ("COPY stubs/ /app/src/\n", ["src/a.rs", "src/b.rs"], ["environment/setup.sh"], "/environment/setup.sh"),
        ("WORKDIR /app\nCOPY stubs/a.rs src/x.rs\nCOPY setup.sh /\n", ["src/x.rs"], ["setup.sh"], "/setup.sh"),
        ("copy --chown=1:1 stubs/*.rs \\\n  /app/\nADD . /tmp\n", ["a.rs", "b.rs"], ["tmp/setup.sh"], "/tmp/setup.sh"),
        ('COPY ["stubs/a.rs", "setup.sh", "/opt/"]\n', [], ["opt/a.rs", "opt/setup.sh"], "/opt/setup.sh"),
        ("COPY --from=x a /app\n# COPY stubs /app\nCOPY gone /app\nCOPY ../a /app\n", [], [], "/environment/setup.sh"),
        ("COPY stubs/a.rs /app/../../etc/a.rs\nCOPY setup.sh /s\n", [], ["s"], "/s"),
    ],
)
def test_what_a_dockerfile_copies(
    tmp_path: Path, dockerfile: str, app: list[str], outside: list[str], setup: str
) -> None:
    environment = tmp_path / "environment"
    for name, text in {"Dockerfile": dockerfile, "setup.sh": "s", "stubs/a.rs": "a", "stubs/b.rs": "b"}.items():
        (environment / name).parent.mkdir(parents=True, exist_ok=True)
        (environment / name).write_text(text)
    (tmp_path / "app").mkdir()
    (tmp_path / "outside").mkdir()
    staged = stage(environment, read_dockerfile(environment), tmp_path / "app", tmp_path / "outside")
    assert str(staged.setup) == setup
    assert _names(tmp_path / "app") >= set(app)
    assert _names(tmp_path / "outside") >= set(outside)
    assert not (tmp_path / "etc").exists()
    assert not Path("/etc/a.rs").exists()


def test_nothing_is_copied_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment/Dockerfile").write_text("COPY a /app/link/a\n")
    (tmp_path / "environment/a").write_text("new")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "app").mkdir()
    (tmp_path / "app/link").symlink_to(tmp_path / "elsewhere")
    stage(tmp_path / "environment", read_dockerfile(tmp_path / "environment"), tmp_path / "app", tmp_path / "outside")
    assert (tmp_path / "app/link/a").read_text() == "new"
    assert _names(tmp_path / "elsewhere") == set()


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _logs(folder: Path, **files: str) -> Path:
    (folder / "verifier").mkdir()
    for name, text in files.items():
        (folder / "verifier" / f"reward.{name}").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "reward", "tests"),
    [
        ({"json": '{"reward": 0.25, "score": 1}', "txt": "1"}, 0.25, (0, 4)),
        ({"json": '{"score": 0.65, "tests_passed": 1, "tests_total": 2}'}, 0.65, (1, 2)),
        ({"json": '{"accuracy": 1}'}, 1.0, (4, 4)),
        ({"json": "0.5"}, 0.5, (0, 4)),
        ({"json": "  \n", "txt": "1.0\n"}, 1.0, (4, 4)),
        ({"txt": "0"}, 0.0, (0, 4)),
    ],
)
def test_the_reward(tmp_path: Path, files: dict[str, str], reward: float, tests: tuple[int, int]) -> None:
    grade = read_grade(_logs(tmp_path, **files), tests_total=4)
    assert (grade.reward, (grade.tests_passed, grade.tests_total)) == (reward, tests)
    assert (grade.failure is None) == (reward == 1)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "without a reward"),
        ({"json": "", "txt": " \n"}, "without a reward"),
        ({"json": "{", "txt": "1"}, "no JSON"),
        ({"json": '{"a": 1, "b": 1}'}, "no `reward`; it has a, b"),
        ({"json": '{"reward": null}'}, "no reward of 0 to 1"),
        ({"json": '{"reward": NaN}'}, "no reward of 0 to 1"),
        ({"txt": "7"}, "'7', which is no reward"),
        ({"txt": "one"}, "'one', which is no reward"),
    ],
)
def test_a_missing_or_broken_reward_is_no_zero(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    with pytest.raises(InfrastructureFailure, match=expected):
        read_grade(_logs(tmp_path, **files), tests_total=4)


def test_a_reward_that_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    _logs(tmp_path)
    (tmp_path / "verifier" / "reward.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(InfrastructureFailure, match="is a link"):
        read_grade(tmp_path, tests_total=1)


class TestAllThatChanged:
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        for name in ("keep.txt", "edit.txt", "remove.txt", "tool", "folder/inner.txt", "Cargo.toml"):
            (tmp_path / "start" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "start" / name).write_text(name)
        (tmp_path / "start" / "link").symlink_to("keep.txt")
        (tmp_path / "start").rename(tmp_path / "workspace")
        workspace = tmp_path / "workspace"
        return Task("", workspace, PurePosixPath("changes.txt"), "", 1, pristine=snapshot(workspace))

    def test_is_made_again_elsewhere(self, task: Task, tmp_path: Path) -> None:
        workspace = task.workspace
        (workspace / "edit.txt").write_bytes(b"\xff new")
        (workspace / "remove.txt").unlink()
        (workspace / "tool").chmod(0o755)
        (workspace / "folder/inner.txt").unlink()
        (workspace / "folder").rmdir()
        (workspace / "folder").write_text("now a file")
        (workspace / "deep/er").mkdir(parents=True)
        (workspace / "deep/er/added.txt").write_text("added")
        (workspace / "target").mkdir()
        (workspace / "target/built").write_text("by cargo")
        (workspace / "passwd").symlink_to("/etc/passwd")
        work = collect_changes(task)
        assert work.source.splitlines() == [
            "added deep/er/added.txt",
            "changed edit.txt",
            "added folder",
            "removed folder/inner.txt",
            "removed remove.txt",
            "changed tool",
        ]
        fresh = tmp_path / "fresh"
        for name in ("edit.txt", "remove.txt", "tool", "folder/inner.txt"):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(name)
        apply_changes(work.changes, fresh)
        assert {str(path.relative_to(fresh)): path.read_bytes() for path in fresh.rglob("*") if path.is_file()} == {
            "edit.txt": b"\xff new",
            "tool": b"tool",
            "folder": b"now a file",
            "deep/er/added.txt": b"added",
        }
        assert (fresh / "tool").stat().st_mode & 0o111 == 0o111

    def test_nothing_is_written_through_a_link_of_the_image(self, task: Task, tmp_path: Path) -> None:
        (tmp_path / "host").mkdir()
        (tmp_path / "host/file").write_text("the host's")
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        (fresh / "folder").symlink_to(tmp_path / "host")
        (fresh / "edit.txt").symlink_to(tmp_path / "host/file")
        new = StoredFile(b"new", executable=False)
        apply_changes({"folder/file": new, "edit.txt": new}, fresh)
        assert (tmp_path / "host/file").read_text() == "the host's"
        assert (fresh / "folder/file").read_text() == (fresh / "edit.txt").read_text() == "new"

    def test_is_bounded(self, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("task_app.benchmarks.harbor_work.MOST_BYTES", 100)
        (task.workspace / "large").write_bytes(b"x" * 101)
        with pytest.raises(UnusableSource, match="large is larger than 100 bytes"):
            collect_changes(task)
        (task.workspace / "large").unlink()
        monkeypatch.setattr("task_app.benchmarks.harbor_work.MOST_FILES", 3)
        with pytest.raises(UnusableSource, match="more than 3 files"):
            collect_changes(task)

    def test_of_nothing(self, task: Task) -> None:
        assert collect_changes(task).source == ""
        assert json.dumps(collect_changes(task).source) == '""'
