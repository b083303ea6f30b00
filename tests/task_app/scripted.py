"""Agents that do exactly what a test tells them to."""

import asyncio
from collections.abc import Callable

from task_app.agents import AgentContext, AgentOutcome
from task_app.benchmarks import Task
from task_app.contracts import PolicyConfig


class Scripted:
    """Calls a function with the task and the context."""

    description = "does what a test says"

    def __init__(self, act: Callable[[Task, AgentContext], AgentOutcome | None], uses_reference: bool = False) -> None:
        self.name = "scripted"
        self.uses_reference = uses_reference
        self._act = act
        self.runs = 0

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        self.runs += 1
        return self._act(task, context) or AgentOutcome()


class Patient:
    """Works until it is let go, and counts how often it was started and how often it was cancelled."""

    name = "patient"
    description = "waits for a test"
    uses_reference = False

    def __init__(self) -> None:
        self.started = asyncio.Semaphore(0)
        self.let_go = asyncio.Event()
        self.runs = 0
        self.cancelled = 0

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        self.runs += 1
        self.started.release()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        (task.workspace / task.file).write_text("Hello, world!")
        return AgentOutcome(log="was patient")
