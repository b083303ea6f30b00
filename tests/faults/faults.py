"""The faults, and what a rollout's owner has to know afterwards: what was lost, done twice, left behind."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.faults.runs import MID_EVAL, MOMENTS, ROLLOUTS, NotStruck, Run, ServedRun
from tests.faults.scene import BackendName, Scene

AWAY = 30.0
"""Seconds that the Prefect server is away, and then as long as it takes to start."""

BOTH: tuple[BackendName, ...] = ("local", "daytona")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong while a run works on a step."""

    name: str
    strike: Callable[[Scene, Run], None]
    prepare: Callable[[Scene], None] | None = None
    """What it needs before the run begins."""
    mend: Callable[[Scene], None] | None = None
    """Ends the fault before the run is resumed, where it does not end by itself."""
    served: bool = False
    """Whether the run is one of the deployment's, by a worker, rather than of the command line."""
    steps: Sequence[str] = MOMENTS
    backends: Sequence[BackendName] = BOTH


@dataclass(frozen=True)
class Outcome:
    """What became of one run that was struck once, and then resumed."""

    ended: str
    """How the run that was struck has ended, in a word."""
    resumed: str
    """How `engine-bench resume` has."""
    lost: int
    """Rollouts that were said to be finished and are not in the store, or never got a score."""
    doubled: int
    """Rollouts that were finished before the resumption and have been written again, or scored otherwise."""
    leaked: list[str]
    said: str
    """By both."""
    seconds: float

    @classmethod
    def none(cls, reason: str) -> "Outcome":
        """Of a trial that could not be made."""
        return cls("", "", 0, 0, [], reason, 0)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is missing, and nobody was shown a traceback."""
        counts = (self.lost, self.doubled, len(self.leaked))
        return self.resumed == "completed" and counts == (0, 0, 0) and not self.has_traceback

    @property
    def has_traceback(self) -> bool:
        return "Traceback" in self.said


def disturb(scene: Scene, fault: Fault, step: str) -> Outcome:
    """Strike a run when it begins a step, resume it, sweep, and judge.

    Raises:
        NotStruck: it had ended before that.
    """
    began = time.monotonic()
    if fault.prepare:
        fault.prepare(scene)
    run = scene.serve() if fault.served else scene.run()
    run.reach(step)
    fault.strike(scene, run)
    ended = run.wait()
    if fault.mend:
        fault.mend(scene)
    before = scene.finished()
    resumption = scene.resume()
    resumed = resumption.wait()
    after = scene.finished()
    scene.sweep()
    unscored = ROLLOUTS - len(after)
    # gold solves it each time: any other score is not that of an undisturbed run
    changed = [name for name, (_, reward) in after.items() if reward != 1.0]
    rewritten = [name for name, row in before.items() if after.get(name) != row]
    return Outcome(
        ended,
        resumed,
        lost=max(0, run.announced - len(before)) + unscored,
        doubled=len({*changed, *rewritten}),
        leaked=scene.leftovers(),
        said=f"{run.said}\n--- resumed\n{resumption.said}",
        seconds=time.monotonic() - began,
    )


def kill_flow(scene: Scene, run: Run) -> None:
    run.process.kill()


def kill_worker(scene: Scene, run: Run) -> None:
    assert isinstance(run, ServedRun)
    _kill(run.workers())


def terminate_flow(scene: Scene, run: Run) -> None:
    run.process.terminate()


def ctrl_c(scene: Scene, run: Run) -> None:
    run.press_ctrl_c()


def ctrl_c_twice(scene: Scene, run: Run) -> None:
    run.press_ctrl_c()
    time.sleep(0.3)  # as fast as somebody presses it again
    if run.process.poll() is None:
        run.press_ctrl_c()


def kill_task_app(scene: Scene, run: Run) -> None:
    _kill(scene.cloud.task_apps() if scene.cloud else run.task_apps())


def kill_toolbox(scene: Scene, run: Run) -> None:
    assert scene.cloud
    _kill(scene.cloud.toolboxes())


def _kill(found: Sequence[psutil.Process]) -> None:
    """One of them, so that another lane is left."""
    for process in found[:1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            return
    raise NotStruck("There was nothing left to kill.")


def mount_small_disk(scene: Scene) -> None:
    scene.disk.mount()


def fill_disk(scene: Scene, run: Run) -> None:
    scene.disk.fill()


def empty_disk(scene: Scene) -> None:
    scene.disk.empty()


def take_server_away(scene: Scene, run: Run) -> None:
    scene.server.stop()
    time.sleep(AWAY)
    scene.server.start()


def let_api_fail(scene: Scene, run: Run) -> None:
    """One request of five answers 429, 500 or 504 (a proxy's time-out) in turn, from now on."""
    assert scene.cloud
    for number in range(1, 31):
        scene.cloud.fault("rate_limited", after=13 * number, times=1, seconds=1)
        scene.cloud.fault("error", after=12 * number, times=1, status=500)
        scene.cloud.fault("error", after=12 * number + 6, times=1, status=504)


def let_toolbox_fail(scene: Scene, run: Run) -> None:
    assert scene.cloud
    scene.cloud.fault("toolbox_down", lasts=3)


def mend_cloud(scene: Scene) -> None:
    assert scene.cloud
    scene.cloud.clear_faults()


RUNNING = ("health", "eval", MID_EVAL, "cleanup")
"""When there is a task app."""

FAULTS: Sequence[Fault] = (
    Fault("kill -9 of the flow and its eval service", kill_flow),
    Fault("kill -9 of the worker", kill_worker, served=True),
    Fault("SIGTERM", terminate_flow),
    Fault("Ctrl-C", ctrl_c),
    Fault("Ctrl-C twice", ctrl_c_twice),
    Fault("kill -9 of the task app", kill_task_app, steps=RUNNING),
    Fault("kill -9 of the toolbox", kill_toolbox, steps=MOMENTS[1:], backends=("daytona",)),
    Fault("disk full", fill_disk, mount_small_disk, empty_disk),
    Fault("Prefect server away", take_server_away),
    Fault("20% of API calls fail", let_api_fail, mend=mend_cloud, backends=("daytona",)),
    Fault("toolbox and preview away for 3 s", let_toolbox_fail, mend=mend_cloud, backends=("daytona",)),
)
