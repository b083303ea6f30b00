"""Where a Harbor task's programs run: a jail with the absolute paths that they expect."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from task_app.benchmarks import harbor_image, harbor_toml
from task_app.benchmarks.base import StoredFile
from task_app.benchmarks.dockerfile import APP, SETUP
from task_app.benchmarks.harbor_files import HarborTask
from task_app.benchmarks.harbor_image import Staged
from task_app.benchmarks.harbor_toml import Agent, Healthcheck, Verifier
from task_app.build_cache import BuildCache
from task_app.errors import InfrastructureFailure
from task_app.isolation import SYSTEM_PATH, Isolation, Jail, Limits
from task_app.jail_root import SYSTEM_DIRECTORIES, Bind
from task_app.processes import Completed
from task_app.toolchain import Toolchain
from task_app.users import HARBOR_UIDS, HeldUser, hold

_MIB = 1 << 20
_TEMPORARY = Path("/tmp")  # noqa: S108 - the jail's own
_STAGED_TEMPORARY = Path("/staged-tmp")
_SETUP_TIMEOUT = 300


class Places:
    """Jails for so many tasks at a time, and their images."""

    def __init__(self, folder: Path, work: Path, isolation: Isolation, count: int, cache: BuildCache) -> None:
        self._folder = folder
        self._work = work
        self._isolation = isolation
        self._cache = cache
        self._count = count
        self._users: list[HeldUser] = []
        self._free: asyncio.Queue[HeldUser] = asyncio.Queue()
        self._images: dict[Path, Path] = {}
        self._making = asyncio.Lock()
        self._toolchain: Toolchain | None = None

    async def open(self) -> None:
        """Raises InfrastructureFailure where tasks can't run."""
        if not self._isolation.has_own_root:
            raise InfrastructureFailure(
                "Tasks in the Harbor layout use absolute paths such as /app and /tests, which takes mount namespaces, "
                f"and this machine allows only the isolation level '{self._isolation.level}'. Run as root, or allow "
                "unprivileged user namespaces."
            )
        for _ in range(self._count):
            self._users.append(hold(HARBOR_UIDS))
            self._free.put_nowait(self._users[-1])
        self._work.mkdir(parents=True, exist_ok=True)
        if shutil.which("cargo"):
            self._toolchain = await Toolchain.detect(self._work)

    async def close(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)
        for user in self._users:
            user.release()

    async def image(self, task: HarborTask) -> Path:
        """A folder with what the task's image holds under /app, before what is the task's own; not to be changed."""
        root = harbor_image.image_root(self._folder, task.public.id)
        async with self._making:
            if root not in self._images:
                copy = self._work / f"image-{len(self._images)}"
                await asyncio.to_thread(_copy, root, copy)
                if self._toolchain is not None and (copy / "Cargo.toml").is_file():
                    await self._toolchain.vendor(copy, self._cache)
                self._images[root] = copy
        return self._images[root]

    async def furnish(self, task: HarborTask, app: Path) -> None:
        """Fill an empty folder with what the task's image holds under /app, and wait until it is healthy."""
        await asyncio.to_thread(_copy, await self.image(task), app)
        added = harbor_image.additions(self._folder, task.environment, task.config)
        with self.temporary() as outside:
            staged = await asyncio.to_thread(harbor_image.stage, task.environment, added, app, outside)
            if staged.setup is not None:
                await self._set_up(task, app, staged)
        if (healthcheck := task.config.environment.healthcheck) is not None:
            await self._await_health(task, app, healthcheck)

    async def run(
        self,
        task: HarborTask,
        app: Path,
        argv: Sequence[str],
        *,
        timeout: float,
        binds: tuple[Bind, ...] = (),
        environment: Mapping[str, str] | None = None,
        phase: Agent | Verifier | None = None,
    ) -> Completed:
        """Run a program with `app` as /app and working directory; the binds' folders are the program's to write, too.

        Args:
            phase: gives it a user and the internet, where it says so; None: it has neither.

        Raises:
            InfrastructureFailure: it can't be started, or a variable of its environment is not set.
        """
        toolchain = self._toolchain
        async with self._user() as any_uid:
            uid = any_uid if phase is None or phase.uid is None else phase.uid
            for folder in (app, *(bind.source for bind in binds if bind.writable)):
                await asyncio.to_thread(self._isolation.hand_over, folder, uid)
            jail = Jail(
                workspace=app,
                place=APP,
                uid=uid,
                binds=(*(toolchain.binds() if toolchain else ()), *binds),
                network=phase is not None and task.config.network(phase),
                limits=Limits(file_size=task.config.environment.storage_mb * _MIB, scratch=1024 * _MIB),
                environment={
                    **(toolchain.environment(self._isolation) if toolchain else {"PATH": SYSTEM_PATH}),
                    **_resolved(task, {**task.config.environment.env, **(environment or {})}),
                    **(phase.account if phase else {}),
                },
            )
            return await self._isolation.run(jail, argv, timeout=timeout, grace=1)

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """An empty folder that jails can be given, and that is gone afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self._work))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @asynccontextmanager
    async def _user(self) -> AsyncIterator[int]:
        user = await self._free.get()
        try:
            yield user.uid
        finally:
            self._free.put_nowait(user)

    async def _set_up(self, task: HarborTask, app: Path, staged: Staged) -> None:
        """Binds can't reach into /tmp, which is new in each jail, so what belongs there is copied."""
        binds = [
            Bind(entry, _STAGED_TEMPORARY if inside == _TEMPORARY else inside)
            for entry in staged.outside.iterdir()
            if (inside := Path("/") / entry.name) not in SYSTEM_DIRECTORIES
        ]
        script = f'if [ -d {_STAGED_TEMPORARY} ]; then cp -R {_STAGED_TEMPORARY}/. {_TEMPORARY}; fi; exec bash "$0"'
        completed = await self.run(
            task, app, ["/bin/sh", "-c", script, str(staged.setup)], timeout=_SETUP_TIMEOUT, binds=tuple(binds)
        )
        if completed.exit_code != 0:
            raise InfrastructureFailure(f"{task.environment / SETUP} failed: {ending(completed)}. Check the benchmark.")

    async def _await_health(self, task: HarborTask, app: Path, check: Healthcheck) -> None:
        loop = asyncio.get_running_loop()
        begun, failures = loop.time(), 0
        while True:
            completed = await self.run(task, app, ["/bin/sh", "-c", check.command], timeout=check.timeout_sec)
            if completed.exit_code == 0:
                return
            starting = loop.time() - begun < check.start_period_sec
            failures += not starting
            if failures >= check.retries:
                raise InfrastructureFailure(
                    f"The environment of {task.public.id} is not healthy: `{check.command}` failed {failures} times, "
                    f"at last so: {ending(completed)}. Check its task.toml."
                )
            await asyncio.sleep(check.start_interval_sec if starting else check.interval_sec)


def write_all(files: Mapping[str, StoredFile], folder: Path) -> None:
    for name, stored in files.items():
        stored.write(folder / name)


def _resolved(task: HarborTask, values: Mapping[str, str]) -> dict[str, str]:
    try:
        return harbor_toml.resolve(values, os.environ)
    except KeyError as error:
        raise InfrastructureFailure(
            f"The task.toml of {task.public.id} wants the variable {error.args[0]}, which is not set. Set it, or give "
            f"it a default: ${{{error.args[0]}:-...}}."
        ) from None


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    target.chmod(0o755)


def ending(completed: Completed) -> str:
    """How a program ended, in one line."""
    said = (completed.stderr.strip() or completed.stdout.strip()).splitlines()[-1:] or ["it said nothing"]
    if completed.timed_out:
        return f"its time of {completed.duration:.0f} s was up"
    return f"exit code {completed.exit_code}, {said[0]}"
