"""The parameters of an eval: one model that is the Run form, the `--param` names and the command line's options."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

BackendName = Literal["local", "daytona"]
BenchmarkName = Literal["sample", "hello-world", "engine-bench", "harbor"]
AgentName = Literal["opencode", "codex", "claude_code", "command", "gold", "noop"]


class Parameters(BaseModel):
    """What to evaluate, where, and how much of it. Flat, since each field becomes a widget of its own in the Run form.

    "Not given" is an empty string or list, never None: Prefect's form draws an optional field as tabs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: BackendName = Field(
        default="local", description="Where the task app lives: a process on this machine, or a Daytona cloud sandbox."
    )
    benchmark: BenchmarkName = Field(
        default="sample",
        description="Which instances to solve. `engine-bench` reads the clone that ENGINE_BENCH_DIR names, "
        "`harbor` the folder that `path` names.",
    )
    path: str = Field(
        default="",
        max_length=1000,
        description="Folder of the benchmark `harbor`; for `engine-bench`, instead of ENGINE_BENCH_DIR.",
    )
    harbor_root: str = Field(
        default="",
        max_length=1000,
        description="Harbor layout, backend local: folder with what the tasks' images hold under /app.",
    )
    split: str = Field(default="", max_length=64, description="Part of the benchmark, e.g. `easy`; empty takes it all.")
    seeds: int = Field(
        default=0, ge=0, le=10_000, description="How many instances, from the first one on; 0 takes all of them."
    )
    instances: list[str] = Field(
        default=[], description="Only these instances: ids or globs such as `df-*`; empty takes any."
    )
    agent: AgentName = Field(
        default="opencode",
        description="Who solves them. Baselines: `gold` writes the reference solution, `noop` writes nothing; "
        "`command` runs a program of yours.",
    )
    model: str = Field(default="", max_length=200, description="The agent's model, as its own command line names it.")
    agent_command: str = Field(
        default="",
        max_length=4000,
        description="Agent `command`: what to run in a shell, in the workspace, with the prompt on stdin.",
    )
    inference_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="A proxy to reach the model through, instead of its provider. Its key: INFERENCE_API_KEY.",
    )
    timeout: int = Field(
        default=600, ge=1, le=14_400, description="Seconds that the agent has for one rollout; grading comes on top."
    )
    max_turns: int = Field(
        default=0, ge=0, le=10_000, description="Answers of the model that the agent may have; 0 sets no limit."
    )
    system_prompt: str = Field(default="", max_length=100_000, description="Added to the agent's own system prompt.")
    context: str = Field(
        default="",
        max_length=1000,
        description="Folder with what the agent is to find: AGENTS.md, skills/NAME/SKILL.md and other files for its "
        "workspace; preflight.sh, run before it; .env, variables for both.",
    )
    internet: bool = Field(
        default=False,
        description="Let the agent reach the internet, and not its model alone; it may find published solutions there.",
    )
    attempts: int = Field(default=1, ge=1, le=1000, description="Independent tries at each instance.")
    concurrency: int = Field(default=2, ge=1, le=64, description="Rollouts at a time in one sandbox.")
    sandboxes: int = Field(default=1, ge=1, le=64, description="Sandboxes (lanes) that share the work.")
    port: int = Field(
        default=8017,
        ge=1,
        le=65535,
        description="Port of the task app on this machine; the next free one is taken if it is in use.",
    )
    task_app_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="A task app that already runs: used as it is, instead of making a sandbox. "
        "Its key is read from ENVIRONMENT_API_KEY.",
    )

    image: str = Field(
        default="",
        max_length=200,
        description="Daytona: any registry image with Python 3.11 or newer; empty takes our own choice.",
    )
    snapshot: str = Field(
        default="auto",
        max_length=200,
        description="Daytona: `auto` builds a snapshot once and reuses it, `none` starts from the image each time; "
        "or the name of a snapshot.",
    )
    cpu: int = Field(default=2, ge=1, le=16, description="Daytona: cores of a sandbox.")
    memory: int = Field(default=4, ge=1, le=64, description="Daytona: GiB of memory of a sandbox.")
    disk: int = Field(default=8, ge=1, le=100, description="Daytona: GiB of disk of a sandbox.")
    resume: str = Field(
        default="",
        max_length=200,
        description="Continue this earlier run, by name or id, with the parameters that it had: "
        "only what has no score is run.",
    )
    rescore: str = Field(
        default="",
        max_length=200,
        description="Grade again what the agents of this earlier run wrote, by name or id: a run of its own, with the "
        "parameters that it had. No agent runs.",
    )

    @property
    def title(self) -> str:
        """What a run of these is called until its instances are known."""
        if self.resume:
            return f"resume · {self.resume}"
        if self.rescore:
            return f"rescore · {self.rescore}"
        return self.title_of(self.seeds)

    def title_of(self, seeds: int) -> str:
        """What a run on so many instances is called, e.g. `daytona · codex · gpt-5.2 · sample · 16 seeds`."""
        amount = f"{seeds or 'all'} seed{'' if seeds == 1 else 's'}"
        attempts = f"{self.attempts} attempts" if self.attempts > 1 else ""
        return " · ".join(filter(None, (self.backend, self.agent, self.model, self.benchmark, amount, attempts)))

    @property
    def tags(self) -> list[str]:
        """What a run is found by in the Prefect UI."""
        return list(filter(None, (self.backend, self.benchmark, self.agent, self.model)))


Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")


def form(model: type[Model]) -> Callable[[Callable[[Model], Awaitable[Result]]], Callable[..., Awaitable[Result]]]:
    """Give a function of one model the flat signature that Prefect builds its Run form and schema from.

    Prefect keeps the bounds of an annotation but takes descriptions from a Google-style docstring only,
    so both are generated from the fields.
    """

    def flatten(function: Callable[[Model], Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
        async def call(**values: Any) -> Result:
            return await function(model(**values))

        fields = model.model_fields.items()
        call.__name__, call.__qualname__, call.__module__ = (
            function.__name__,
            function.__qualname__,
            function.__module__,
        )
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.rebuild_annotation()
                )
                for name, field in fields
            ]
        )
        arguments = "\n".join(f"    {name}: {field.description}" for name, field in fields)
        call.__doc__ = f"{inspect.getdoc(function)}\n\nArgs:\n{arguments}"
        return call

    return flatten
