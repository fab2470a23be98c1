"""Edits that flow on both sides at once, whatever becomes of the service meanwhile."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, Self

from proofs.edits import AppEditor, AuthEditor, Editor, Names
from proofs.pair import Pair

PAUSE_MAX_S: Final = 0.02


class Flow:
    """Both editors, each in a task of its own; they edit as much as was granted."""

    def __init__(self, pair: Pair, chance: random.Random) -> None:
        """Nothing is granted yet."""
        self.names = Names()
        self.edits = 0
        """Edits made; those that were rolled back are not counted."""
        self._chance = chance
        self._apps = pair.open_apps()
        auth, app = self._apps
        self.auth = AuthEditor(auth, self.names, random.Random(chance.random()))
        self.app = AppEditor(app, self.names, random.Random(chance.random()))
        self._locks = {id(self.auth): asyncio.Lock(), id(self.app): asyncio.Lock()}
        self._granted = asyncio.Semaphore(0)
        self._idle = asyncio.Condition()
        self._open = 0
        self._tasks: Sequence[asyncio.Task[None]] = ()

    async def __aenter__(self) -> Self:
        """Begin."""
        self._tasks = [asyncio.create_task(self._edit(editor)) for editor in (self.auth, self.app)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End both editors."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for app in self._apps:
            app.close()

    def grant(self, count: int) -> None:
        """Let this many more edits be made."""
        self._open += count
        for _ in range(count):
            self._granted.release()

    async def drain(self) -> None:
        """Wait until everything that was granted is done; raise what an editor raised."""
        async with self._idle:
            await self._idle.wait_for(lambda: self._open == 0 or any(task.done() for task in self._tasks))
        for task in self._tasks:
            if task.done():
                task.result()

    async def make(self, edit: Callable[[], None], editor: Editor) -> None:
        """Make one certain edit, between the random ones."""
        async with self._locks[id(editor)]:
            await asyncio.to_thread(edit)
        self.edits += 1

    async def _edit(self, editor: Editor) -> None:
        try:
            while True:
                await self._granted.acquire()
                async with self._locks[id(editor)]:
                    kind = await asyncio.to_thread(editor.edit)
                self.edits += kind != "roll_back"
                self._open += kind == "roll_back"
                if kind == "roll_back":
                    self._granted.release()
                await self._settle()
                await asyncio.sleep(self._chance.uniform(0, PAUSE_MAX_S))
        finally:
            async with self._idle:
                self._idle.notify_all()

    async def _settle(self) -> None:
        self._open -= 1
        if self._open == 0:
            async with self._idle:
                self._idle.notify_all()
