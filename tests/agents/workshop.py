"""A task laid out for an agent under test, and the settings to run it with."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pydantic import SecretStr

from task_app.agents.base import AgentContext
from task_app.benchmarks.base import Task
from task_app.contracts import PolicyConfig
from task_app.isolation import Isolation
from tests.agents.scenarios import KEY, MODEL

PROMPT = "Write Hello, world! to hello.txt."


def task(folder: Path) -> Task:
    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    return Task(prompt=PROMPT, workspace=workspace, file=PurePosixPath("hello.txt"), stub="", tests_total=1)


def policy(agent: str, inference_url: str | None, timeout: float = 60) -> PolicyConfig:
    return PolicyConfig(agent=agent, model=MODEL, timeout=timeout, inference_url=inference_url)


async def context(folder: Path, id: str, environment: Mapping[str, str] | None = None) -> AgentContext:
    home = folder / "home"
    home.mkdir()
    given = {"INFERENCE_API_KEY": KEY, **(environment or {})}
    return AgentContext(
        correlation_id=id,
        home=home,
        environment={name: SecretStr(value) for name, value in given.items()},
        isolation=await Isolation.detect(folder),
    )
