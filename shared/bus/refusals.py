"""What the server refused one identity.

nats-py reports it to its error callback alone, in lower case; the call itself succeeds or times out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, TypeVar

from shared.constant import constant
from shared.errors import NotPermitted, Unreachable

T = TypeVar("T")
Verb = Literal["publish", "subscribe"]
MAX_UNHEARD = constant(1_000, "refusals", "X-12")


class Refusals:
    """Brings each refusal of the server, and the loss of the link, to the call that waits for an answer."""

    def __init__(self, identity: str, asked: Callable[[str | None], Sequence[asyncio.Future[Any]]]) -> None:
        self.identity = identity
        self._asked = asked  #: what else waits for an answer: all of it, or what needs to publish on a subject
        self._unheard: dict[
            tuple[Verb, str], None
        ] = {}  #: refused while nobody waited; the next caller learns it, once
        self._waiting: dict[tuple[Verb, str], set[asyncio.Future[None]]] = {}

    def hear(self, error: str) -> None:
        """Take one error text of the client; anything but a permission violation is ignored."""
        text = error.lower()
        if "permissions violation" not in text or '"' not in text:
            return
        key: tuple[Verb, str] = ("publish" if "publish to" in text else "subscribe", text.split('"')[1])
        waiting = [*self._waiting.get(key, ()), *(self._asked(key[1]) if key[0] == "publish" else ())]
        for future in waiting:
            if not future.done():
                future.set_exception(self._refusal(*key))
        if not waiting:
            self._unheard[key] = None
            if len(self._unheard) > MAX_UNHEARD:
                del self._unheard[next(iter(self._unheard))]

    def lose(self) -> None:
        """The link went down: no answer can come any more."""
        for future in [future for futures in self._waiting.values() for future in futures] + [*self._asked(None)]:
            if not future.done():
                future.set_exception(Unreachable(f"{self.identity} lost its link to the bus before an answer came"))

    def check(self, verb: Verb, subject: str) -> None:
        """NotPermitted if the server refused this since the last look; the next attempt is judged anew."""
        key: tuple[Verb, str] = (verb, subject.lower())
        if key in self._unheard:
            del self._unheard[key]
            raise self._refusal(*key)

    async def race(self, verb: Verb, subjects: Sequence[str], work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; NotPermitted once the server refuses a subject, Unreachable on a lost link."""
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        keys: set[tuple[Verb, str]] = {(verb, subject.lower()) for subject in subjects}
        for key in keys:
            self._waiting.setdefault(key, set()).add(refused)
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, refused), return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                refused.result()
            return await task
        finally:
            self._leave(keys, refused)
            for end in (task, refused):
                if not end.cancel() and not end.cancelled():
                    end.exception()  # looked at: an end that nobody waits for any more is no news

    def _leave(self, keys: set[tuple[Verb, str]], refused: asyncio.Future[None]) -> None:
        for key in keys:
            self._waiting[key].discard(refused)
            if not self._waiting[key]:
                del self._waiting[key]

    def _refusal(self, verb: Verb, subject: str) -> NotPermitted:
        words = "publish on" if verb == "publish" else "subscribe to"
        return NotPermitted(f"the server refuses {self.identity} to {words} {subject}")
