"""Grading slots: pristine copies of a scaffold with a warm target directory, leased one at a time.

A slot is written by nobody but the grader and the compiler. Where jails have a root of their own every slot is found
at the same path, so one build serves all: the template is built once and copied. Elsewhere each is built in its place.
"""

import asyncio
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from task_app.build_cache import BuildCache
from task_app.errors import InfrastructureFailure
from task_app.isolation import Isolation
from task_app.users import GRADING_UIDS, HeldUser, hold

logger = logging.getLogger(__name__)

_LEFT_OUT = shutil.ignore_patterns("target", ".git")

Prepare = Callable[[Path], Awaitable[None]]
"""Makes a copy of the scaffold ready to be built without a network."""
Build = Callable[["Slot"], Awaitable[None]]


@dataclass
class Slot:
    """A copy of the scaffold at `path`, and how to bring it back to what it was."""

    path: Path
    user: HeldUser
    pristine: Mapping[str, str]
    """SHA-256 in hex of each source file of the scaffold, by path relative to it."""
    scaffold: Path
    spoiled: bool = False
    """It could not be brought back to what it was: it has to be made anew before anyone gets it."""
    _placed: set[str] = field(default_factory=set)
    _last_stamp: int = 0

    @property
    def compile_uid(self) -> int:
        return self.user.uid

    @property
    def test_uid(self) -> int:
        """Another one, so that a test process can't write its slot."""
        return self.user.uid + 1

    def place(self, files: Mapping[str, str]) -> None:
        """Write files, given by path relative to the slot, so that cargo sees each as changed."""
        for name, content in files.items():
            self._placed.add(name)
            target = self.path / name
            _make_folder(target.parent)
            target.write_text(content)
            target.chmod(0o644)
            self._stamp(target)

    def reset(self) -> None:
        """Put back what the scaffold has where files were placed."""
        for name in self._placed:
            original, target = self.scaffold / name, self.path / name
            if original.is_file():
                shutil.copyfile(original, target)
                self._stamp(target)
            else:
                target.unlink(missing_ok=True)
        self._placed.clear()

    def is_pristine(self) -> bool:
        return digests(self.path) == self.pristine

    def _stamp(self, file: Path) -> None:
        """Cargo rebuilds what is newer than its last build, so times must only ever go forward."""
        self._last_stamp = max(time.time_ns(), self._last_stamp + 1_000_000)
        os.utime(file, ns=(self._last_stamp, self._last_stamp))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that is part of a scaffold, by relative path. A link counts as what it says."""
    found = {}
    for parent, directories, files in os.walk(folder):
        at = Path(parent)
        if at == folder:
            directories[:] = [name for name in directories if name not in ("target", ".git")]
        for name in files:
            path = at / name
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


class SlotPool:
    """A fixed number of slots below one directory."""

    def __init__(
        self,
        scaffold: Path,
        work: Path,
        count: int,
        isolation: Isolation,
        *,
        prepare: Prepare,
        build: Build,
        cache: BuildCache | None = None,
        recipe: str = "",
    ) -> None:
        """`recipe` says all that a build depends on beside the scaffold: with it, a template is kept in the cache."""

        self._scaffold = scaffold
        self._work = work
        self._count = count
        self._isolation = isolation
        self._prepare = prepare
        self._build = build
        self._cache = cache or BuildCache()
        self._recipe = recipe
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        self._returning: set[asyncio.Task[None]] = set()
        self._template: Slot | None = None
        self._users: list[HeldUser] = []

    @property
    def scaffold(self) -> Path:
        """A copy with its dependencies."""
        return self._work / "scaffold"

    async def warm(self) -> None:
        """Build the template and fill the pool."""
        # Slots are built from a copy: what became of the scaffold since then can't reach a grade.
        scaffold = self.scaffold
        await asyncio.to_thread(_fresh_copy, self._scaffold, scaffold)
        await self._prepare(scaffold)
        slots = [self._slot(f"slot-{index}", scaffold) for index in range(self._count)]
        if self._isolation.has_own_root:
            self._template = self._slot("template", scaffold)
            await self._make_template(self._template)
        for slot in slots:
            await self._renew(slot)
            self._free.put_nowait(slot)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Slot]:
        """A slot of one's own; on leaving it is reset before anyone else gets it, also if the task was cancelled.

        Raises:
            InfrastructureFailure: there is none that could be trusted.
        """
        slot = await self._free.get()
        if slot.spoiled:
            await self._mend(slot)
        clean = False
        try:
            yield slot
            clean = True
        finally:
            returning = asyncio.create_task(self._take_back(slot, clean))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
            await asyncio.shield(returning)

    async def close(self) -> None:
        """Wait until all slots are back, and remove them."""
        while self._returning:
            await asyncio.gather(*self._returning, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)
        for user in self._users:
            user.release()

    async def _take_back(self, slot: Slot, clean: bool) -> None:
        """A compiler that was stopped half way may leave anything, so then the whole slot is made anew.

        Where that fails (on a full disk), the grade that is there stands; whoever comes next tries again.
        """
        slot.spoiled = True
        try:
            await asyncio.to_thread(slot.reset)
            trusted = self._isolation.has_own_root or await asyncio.to_thread(slot.is_pristine)
            if not clean or not trusted:
                await self._renew(slot)
            slot.spoiled = False
        except (OSError, InfrastructureFailure) as error:
            logger.warning("Grading slot %s is to be made anew: %s", slot.path.name, error)
        finally:
            self._free.put_nowait(slot)

    async def _mend(self, slot: Slot) -> None:
        try:
            await self._renew(slot)
            slot.spoiled = False
        except OSError as error:
            raise InfrastructureFailure(f"A grading slot can't be made anew: {error}. Is the disk full?") from error
        finally:
            if slot.spoiled:
                self._free.put_nowait(slot)

    async def _make_template(self, template: Slot) -> None:
        """Nobody else ever writes to it, so it can be kept for the next sandbox that would build the same."""
        content = json.dumps([self._recipe, template.pristine], sort_keys=True)
        name = f"build-{hashlib.sha256(content.encode()).hexdigest()}"
        await asyncio.to_thread(shutil.rmtree, template.path, ignore_errors=True)
        if not await self._cache.restore(name, template.path):
            await self._build_anew(template)
            await self._cache.store(name, template.path)

    async def _renew(self, slot: Slot) -> None:
        if self._template is None:
            await self._build_anew(slot)
        else:
            await asyncio.to_thread(_fresh_copy, self._template.path, slot.path, None)
            await asyncio.to_thread(self._hand_over, slot)

    async def _build_anew(self, slot: Slot) -> None:
        await asyncio.to_thread(_fresh_copy, slot.scaffold, slot.path)
        await asyncio.to_thread(self._hand_over, slot)
        await self._build(slot)

    def _hand_over(self, slot: Slot) -> None:
        """Hidden tests are placed in it, which agents at work must not read where they see real paths."""
        self._isolation.hand_over(slot.path, slot.compile_uid)
        self._isolation.admit(slot.path, slot.compile_uid, reader=slot.test_uid)

    def _slot(self, name: str, scaffold: Path) -> Slot:
        self._users.append(hold(GRADING_UIDS))
        return Slot(self._work / name, self._users[-1], digests(scaffold), scaffold)


def _fresh_copy(source: Path, target: Path, ignore: Callable[..., set[str]] | None = _LEFT_OUT) -> None:
    """Copy a tree with its times, which cargo goes by."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True, ignore=ignore)
    target.chmod(0o755)


def _make_folder(folder: Path) -> None:
    """With its parents, and open to the compiler's user whatever our umask is."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)
