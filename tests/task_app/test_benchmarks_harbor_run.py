"""Running tasks of the Harbor layout: where programs find what, who sees what and when, and what becomes a score."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from task_app.agents import AGENTS, AgentContext, AgentOutcome
from task_app.agents.workplace import Workplace
from task_app.benchmarks import Benchmark, Instance, Task, Work, open_benchmark
from task_app.errors import InfrastructureFailure
from task_app.grade import COMPILES, FailureKind, Grade
from task_app.isolation import Isolation, Level
from tests import synthetic
from tests.task_app.grading_fixtures import open_directory
from tests.task_app.scripted import Scripted
from tests.task_app.serving import rollout, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

CARD = synthetic.Card("hp", 1)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


def add_task(
    folder: Path, name: str, *, verifier: str, instruction: str = "Do it.\n", toml: str = "", solution: str = ""
) -> None:
    files = {"task.toml": toml, "instruction.md": instruction, "tests/test.sh": verifier}
    if solution:
        files["solution/solve.sh"] = solution
    for path, text in files.items():
        (folder / "tasks" / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tasks" / name / path).write_text(text)


WHO = 'echo "$USER $LOGNAME $(id -u)"'
REWARD = "echo {} > /logs/verifier/reward.txt\n"
SCRIPTS = {
    "tree": {
        "verifier": "cp /app/out/answer.txt /logs/verifier/reward.txt\nrm /app/keep.txt\nexit 7\n",
        "solution": "mkdir -p out\necho 1 > out/answer.txt\nls /tests || echo none > /app/tests-seen.txt\n",
    },
    "one-file": {
        "instruction": "Edit the file `/app/answer.txt`.\n",
        "verifier": "[ -e /app/other.txt ] && exit 1\ncat /app/answer.txt > /logs/verifier/reward.json\n",
    },
    "around": {
        "verifier": 'echo "$(pwd) $MODE $FAST $(ls / | tr "\\n" " ")"\n' + REWARD.format("0.5"),
        "toml": '[environment.env]\nMODE = "${NOT_SET_ANYWHERE:-slow}"\n[verifier.env]\nFAST = "no"\n',
    },
    "unset": {"verifier": REWARD.format(1), "toml": '[verifier.env]\nKEY = "${NOT_SET_ANYWHERE}"\n'},
    "silent": {"verifier": "exit 0\n"},
    "endless": {"verifier": REWARD.format(1) + "sleep 1000\n", "toml": "[verifier]\ntimeout_sec = 0.5\n"},
    "flood": {"verifier": REWARD.format(1) + "yes\n"},
    "offline": {
        "verifier": "cat /sys/class/net/*/operstate; [ $(tail -n +3 /proc/net/dev | wc -l) = 1 ] && "
        + REWARD.format(1),
        "toml": "[environment]\nallow_internet = false\n",
    },
    "as-somebody": {
        "verifier": f"{WHO}\n" + REWARD.format(1),
        "solution": f"{WHO} > /app/solver.txt\n",
        "toml": '[agent]\nuser = 4321\n[verifier]\nuser = "checker"\n',
    },
    "sick": {"verifier": "", "toml": '[environment.healthcheck]\ncommand = "echo ill >&2; false"\ninterval_sec = 0\n'},
    "broken-solution": {"verifier": "", "solution": "echo no such card >&2\nexit 3\n"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def benchmark(folder: Path) -> AsyncIterator[Benchmark]:
    isolation = await Isolation.detect(folder)
    if isolation.level is not Level.NAMESPACE:
        pytest.skip("this machine gives no namespaces")
    synthetic.write_harbor(folder / "clone", instances=6, lines=200)
    (folder / "clone/harbor-root/keep.txt").write_text("kept")
    other = folder / "clone/tasks/hp-002-specimen/task.toml"
    other.write_text(other.read_text().replace('"engine-bench"', '"another"'))
    for name, script in SCRIPTS.items():
        add_task(folder / "clone", name, **script)
    benchmark = open_benchmark(folder / "clone")
    benchmark.seal()
    await benchmark.warm(folder / "work", 2, isolation)
    yield benchmark
    await benchmark.close()
    assert not (folder / "work/harbor").exists()


def instance(benchmark: Benchmark, id: str) -> Instance:
    return next(each for each in benchmark.instances() if each.id == id)


@pytest.fixture
def workspace(folder: Path) -> Iterator[Path]:
    path = folder / "workspace"
    path.mkdir()
    yield path
    shutil.rmtree(path)


async def attempt(
    benchmark: Benchmark, id: str, workspace: Path, act: Callable[[Task], Awaitable[None] | None] = lambda task: None
) -> Grade:
    """The grade of a task at which somebody acts."""
    chosen = instance(benchmark, id)
    task = await asyncio.to_thread(benchmark.prepare, chosen, workspace)
    acting = act(task)
    if acting is not None:
        await acting
    return await benchmark.grade(chosen, benchmark.collect(task))


def gold(benchmark: Benchmark, id: str) -> Callable[[Task], Awaitable[None]]:
    reference = benchmark.reference(instance(benchmark, id))
    assert reference is not None
    return reference.apply


@pytest.mark.parametrize("card", synthetic.deck(6), ids=lambda card: card.id)
async def test_cards_score_as_in_the_classic_layout(
    benchmark: Benchmark, workspace: Path, card: synthetic.Card
) -> None:
    """One of them, hp-002, says that it belongs to another benchmark, and so is graded by its own script."""
    stub = await attempt(benchmark, card.id, workspace)
    assert (stub.reward, stub.tests_passed, stub.tests_total) == (COMPILES, 0, 3), stub.compile_output
    _empty(workspace)
    solved = await attempt(benchmark, card.id, workspace, gold(benchmark, card.id))
    assert (solved.reward, solved.failure) == (1.0, None), solved.compile_output


def _empty(workspace: Path) -> None:
    shutil.rmtree(workspace)
    workspace.mkdir()


async def test_a_card_is_shown_without_what_works_already_and_with_the_rules(
    benchmark: Benchmark, workspace: Path
) -> None:
    card = synthetic.Card("df", 3)
    task = await asyncio.to_thread(benchmark.prepare, instance(benchmark, card.id), workspace)
    assert "game.counters > 0" not in task.stub
    assert (workspace / card.file).read_text() == task.stub
    assert f"mod {card.module};" in (workspace / "src/df/cards/mod.rs").read_text()
    assert "no `unsafe`" in task.prompt
    assert (task.place, task.timeout, str(task.file)) == (Path("/app"), 600, card.file)


async def test_a_card_grades_without_having_been_prepared(benchmark: Benchmark) -> None:
    card = synthetic.Card("hp", 3)
    assert (await benchmark.grade(instance(benchmark, card.id), Work(card.gold))).reward == 1.0


async def test_printed_results_are_worth_nothing(benchmark: Benchmark) -> None:
    """The task's own test.sh counts any line that says `9 passed`."""
    source = CARD.stub.replace("todo!()", 'panic!("9 passed")')
    grade = await benchmark.grade(instance(benchmark, CARD.id), Work(source))
    assert (grade.reward, grade.tests_passed) == (COMPILES, 0)


async def test_the_whole_of_app_counts_and_the_verifiers_changes_stay_its_own(
    benchmark: Benchmark, workspace: Path
) -> None:
    grade = await attempt(benchmark, "tree", workspace, gold(benchmark, "tree"))
    assert (grade.reward, grade.tests_passed, grade.tests_total) == (1.0, 1, 1)
    assert (workspace / "tests-seen.txt").read_text() == "none\n", "tests are not there before the agent is done"
    assert (workspace / "keep.txt").exists()
    assert not (workspace / "solution").exists()


async def test_of_a_task_about_one_file_nothing_else_counts(benchmark: Benchmark, workspace: Path) -> None:
    def act(task: Task) -> None:
        (task.workspace / "answer.txt").write_text("0.75")
        (task.workspace / "other.txt").write_text("")

    assert (await attempt(benchmark, "one-file", workspace, act)).reward == 0.75


async def test_what_a_verifier_finds_around_it(benchmark: Benchmark, workspace: Path) -> None:
    grade = await attempt(benchmark, "around", workspace)
    directory, mode, fast, *root = grade.test_output.split()
    assert (directory, mode, fast, grade.reward) == ("/app", "slow", "no", 0.5)
    assert {"app", "tests", "logs"} <= set(root)
    assert not {"solution", "work", "root", "home", "workspace"} & set(root)
    assert grade.failure is not None
    assert grade.failure.kind is FailureKind.TESTS_FAILED
    assert set(grade.phases) == {"tests"}


async def test_each_phase_is_the_user_that_its_task_says(benchmark: Benchmark, folder: Path, workspace: Path) -> None:
    """By name; where users can be chosen, by number, too."""
    chosen = instance(benchmark, "as-somebody")
    task = await asyncio.to_thread(benchmark.prepare, chosen, workspace)
    (home := folder / "home-of-somebody").mkdir()
    place = await Workplace.open(task, AgentContext("one", home, isolation=await Isolation.detect(folder)), [])
    await asyncio.to_thread(place.furnish, {})
    agent = (await place.run(["sh", "-c", WHO], timeout=20)).stdout.split()
    await gold(benchmark, chosen.id)(task)
    solver = (workspace / "solver.txt").read_text().split()
    verifier = (await benchmark.grade(chosen, benchmark.collect(task))).test_output.split()
    assert (agent[:2], solver[:2], verifier[:2]) == (["4321", "4321"], ["4321", "4321"], ["checker", "checker"])
    if os.geteuid() == 0:
        assert (agent[2], solver[2]) == ("4321", "4321")
        assert verifier[2] not in ("0", "4321")


async def test_no_network_where_the_task_wants_none(benchmark: Benchmark, workspace: Path) -> None:
    tasks: list[Task] = []
    assert (await attempt(benchmark, "offline", workspace, tasks.append)).reward == 1.0
    assert [task.internet for task in tasks] == [False]


async def test_an_agent_may_have_the_network_where_the_task_says_nothing(benchmark: Benchmark, folder: Path) -> None:
    (folder / "open").mkdir()
    task = await asyncio.to_thread(benchmark.prepare, instance(benchmark, "flood"), folder / "open")
    assert task.internet


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("unset", "wants the variable NOT_SET_ANYWHERE"),
        ("silent", "without a reward"),
        ("sick", "not healthy: `echo ill >&2; false` failed 3 times, at last so: exit code 1, ill"),
    ],
)
async def test_what_is_no_score(benchmark: Benchmark, workspace: Path, id: str, expected: str) -> None:
    with pytest.raises(InfrastructureFailure, match=expected):
        await attempt(benchmark, id, workspace)


async def test_a_solution_that_fails_is_the_benchmarks_fault(benchmark: Benchmark, workspace: Path) -> None:
    with pytest.raises(InfrastructureFailure, match="exit code 3, no such card"):
        await attempt(benchmark, "broken-solution", workspace, gold(benchmark, "broken-solution"))


@pytest.mark.parametrize(("id", "kind"), [("endless", FailureKind.TEST_TIMEOUT), ("flood", FailureKind.OUTPUT_FLOOD)])
async def test_a_verifier_without_end_is_a_zero(
    benchmark: Benchmark, workspace: Path, id: str, kind: FailureKind
) -> None:
    grade = await attempt(benchmark, id, workspace)
    assert grade.reward == 0
    assert grade.failure is not None
    assert grade.failure.kind is kind


async def test_agents_work_in_app_and_find_neither_tests_nor_solution(
    benchmark: Benchmark, workspace: Path, folder: Path
) -> None:
    home = folder / "home"
    home.mkdir()
    context = AgentContext("one", home, isolation=await Isolation.detect(folder))
    task = await asyncio.to_thread(benchmark.prepare, instance(benchmark, CARD.id), workspace)
    place = await Workplace.open(task, context, [])
    await asyncio.to_thread(place.furnish, {})
    command = (
        f"pwd; ls -d /tests /solution /logs /environment /workspace; cargo check --offline; echo seen >> {CARD.file}"
    )
    completed = await place.run(["sh", "-c", command], timeout=120)
    assert completed.stdout.split() == ["/app"]
    assert "Finished" in completed.stderr, completed.stderr
    assert (workspace / CARD.file).read_text().endswith("seen\n")


async def test_over_http(folder: Path) -> None:
    """From the request to the reward, on a copy without its secrets; the task's own limit of time goes before ours."""
    clone = folder / "served"
    synthetic.write_harbor(clone, instances=2, lines=100)
    config = (clone / "tasks/df-001-specimen/task.toml").read_text().replace("timeout_sec = 600", "timeout_sec = 7")
    (clone / "tasks/df-001-specimen/task.toml").write_text(config)
    allowed: list[float] = []

    class Timed(Scripted):
        async def run(self, task: Task, policy: object, context: AgentContext) -> AgentOutcome:
            allowed.append(policy.timeout)  # type: ignore[attr-defined]
            return AgentOutcome()

    agents = {"gold": AGENTS["gold"], "noop": AGENTS["noop"], "timed": Timed(lambda task, context: None)}
    async with serving(settings(folder / "served-work", clone, seal=True, slots=2), agents) as client:
        replies = [await client.post("/rollout", json=rollout(agent, agent)) for agent in agents]
    rewards = [reply.json()["reward_info"]["outcome_reward"] for reply in replies]
    assert rewards == [1.0, COMPILES, COMPILES]
    assert allowed == [7]
    kept = {artifact["name"]: artifact["content"] for artifact in replies[0].json()["artifact"]}
    assert "+    let amount" in kept["diff.patch"]
    assert "game.hit" not in json.dumps(replies[1].json())


async def test_without_the_images_content_the_task_app_says_how(folder: Path) -> None:
    synthetic.write_harbor(folder / "bare", instances=2, lines=100)
    shutil.rmtree(folder / "bare/harbor-root")
    async with serving(settings(folder / "bare-work", folder / "bare")) as client:
        # a rollout waits until it is known whether there will be any
        reply = await client.post("/rollout", json=rollout("one", "noop"))
        health = (await client.get("/health")).json()
    assert reply.status_code == 503
    assert health["status"] == "failed"
    assert "--harbor-root DIR" in health["detail"]


@pytest.mark.parametrize("level", [Level.USER, Level.PROCESS])
async def test_without_namespaces_it_says_so(folder: Path, level: Level) -> None:
    synthetic.write_harbor(folder / "plain", instances=2, lines=100)
    benchmark = open_benchmark(folder / "plain")
    with pytest.raises(InfrastructureFailure, match=f"isolation level '{level}'"):
        await benchmark.warm(folder / "plain-work", 1, Isolation(level))
