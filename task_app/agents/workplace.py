"""Where an agent works: a jail with the task's workspace, a HOME of the rollout's own, and the tools it needs."""

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from task_app.agents.base import AgentContext
from task_app.agents.programs import Installed
from task_app.benchmarks.base import Task
from task_app.doors import Door
from task_app.errors import InfrastructureFailure
from task_app.isolation import SYSTEM_PATH, Isolation, Jail, Limits
from task_app.jail_root import Bind
from task_app.processes import Completed, OnOutput
from task_app.toolchain import Toolchain
from task_app.users import AGENT_UIDS

_MIB = 1 << 20
OUTPUT_LIMIT = 4 * _MIB
"""Bytes kept of a program's output, for its log; 16 times as much ends it."""

_PROGRAMS = Path("/programs")
_FIRST_PORT = 4000
"""Of a jail's own loopback, where nothing else is."""

# An address-space limit would stop JavaScript engines, which reserve more than they use.
_LIMITS = Limits(processes=2048, file_size=2048 * _MIB, scratch=1024 * _MIB)


@dataclass(frozen=True)
class Workplace:
    isolation: Isolation
    jail: Jail

    @classmethod
    async def open(cls, task: Task, context: AgentContext, programs: Sequence[Installed]) -> "Workplace":
        """A place with these programs, and with cargo if this machine has it.

        Raises:
            InfrastructureFailure: it can't be set up.
        """
        isolation = context.isolation
        for program in programs:
            isolation = await isolation.reaching(program.path, context.home)
        toolchain = await _toolchain(task.workspace)
        needed = dict.fromkeys(path for program in programs for path in program.needed)
        jail = Jail(
            workspace=task.workspace,
            place=task.place,
            # with a root of its own it meets no other process of that user
            uid=task.uid if task.uid is not None and isolation.has_own_root else await asyncio.to_thread(_free_uid),
            home=context.home,
            # Not where they are on this machine: that may be a place which the jail has something else in, e.g. /tmp.
            binds=(
                *(Bind(path, _PROGRAMS / str(number) / path.name) for number, path in enumerate(needed)),
                *(toolchain.binds() if toolchain else ()),
            ),
            network=context.internet,
            limits=_LIMITS,
        )
        environment = toolchain.environment(isolation) if toolchain else {"PATH": SYSTEM_PATH}
        folders = [str(isolation.inside(jail, program.path).parent) for program in programs]
        return cls(
            isolation,
            replace(
                jail, environment={**task.account, **environment, "PATH": ":".join([environment["PATH"], *folders])}
            ),
        )

    def door(self, number: int = 0) -> Door:
        """By which a program in there reaches us: the first one, or a further one."""
        return Door(_FIRST_PORT + number) if self.isolation.has_own_network else Door.on_this_machine()

    def inside(self, path: Path) -> Path:
        """What a path of this machine is called in there. Raises ValueError if it is not there."""
        return self.isolation.inside(self.jail, path)

    def command(self, program: Installed) -> list[str]:
        """What to run a program by."""
        parts = (program.interpreter, program.path)
        return [str(self.inside(part)) for part in parts if part is not None]

    def furnish(self, files: Mapping[str, str]) -> None:
        """Write files, by path relative to HOME, and let the agent have HOME and workspace. Blocks."""
        home = self.jail.home
        assert home is not None
        for name, text in files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.isolation.hand_over(home, self.jail.uid)
        self.isolation.hand_over(self.jail.workspace, self.jail.uid)

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
        network: bool = True,
        doors: Sequence[Door] = (),
        on_output: OnOutput | None = None,
    ) -> Completed:
        """Run a program to its end, or for `timeout` seconds; nothing of it is left then.

        Args:
            network: whether it is given the network that the agent has, if that has one.
            doors: those that it may reach us by.

        Raises:
            InfrastructureFailure: it can't be started.
        """
        jail = replace(
            self.jail,
            network=network and self.jail.network,
            environment={**self.jail.environment, **(environment or {})},
        )
        return await self.isolation.run(
            jail,
            argv,
            timeout=timeout,
            stdin=stdin.encode(),
            output_limit=OUTPUT_LIMIT,
            on_output=on_output,
            doors=doors,
        )


async def _toolchain(workspace: Path) -> Toolchain | None:
    """None where there is no Rust that works: a benchmark that needs it has not become ready there."""
    try:
        return await Toolchain.detect(workspace)
    except InfrastructureFailure:
        return None


def _free_uid() -> int:
    """A user that runs nothing. Other task apps may look for one at the same time, so not simply the first."""
    taken = set(_running_users())
    return secrets.choice([uid for uid in AGENT_UIDS if uid not in taken])


def _running_users() -> Iterator[int]:
    proc = Path("/proc")
    for entry in proc.iterdir() if proc.is_dir() else ():
        if entry.name.isdigit():
            try:
                yield entry.stat().st_uid
            except FileNotFoundError:
                continue
