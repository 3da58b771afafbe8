"""`watch`: every message that matches as it comes, decoded; decisions once the log holds them."""

from __future__ import annotations

import asyncio
from argparse import Namespace

from deploy.attach import operator
from deploy.commands.gates import show_turn
from deploy.commands.show import decoded, full_subject, line, print_verdict
from deploy.commands.stored import Stored
from deploy.commands.task import finish
from deploy.terminal import Terminal
from shared.bus import Bus, Delivery
from shared.bus.wire import INBOX
from shared.config import Loaded
from shared.constant import constant
from shared.errors import Exit
from shared.home import Running
from shared.message import lane_of

WATCH_LOOK_S = constant(0.5, "s", "X-10")  #: how soon whoever watches is told that the bus is gone


def watch(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Show every message that matches, decoded; decisions are verified against the log before they are shown."""
    return finish(_Watch(args, loaded, terminal).main())


class _Watch:
    """One person's watching, through the ends of organisms; what was heard before one is shown after it."""

    def __init__(self, args: Namespace, loaded: Loaded, terminal: Terminal) -> None:
        self.pattern = full_subject(args.pattern, loaded.settings.env)
        self.args, self.loaded, self.terminal = args, loaded, terminal
        self.arrived = asyncio.Queue[tuple[float, Delivery]]()
        self._in_hand: tuple[float, Delivery] | None = None
        self._seen = 0
        self._moved = False

    async def main(self) -> Exit:
        """Watch until enough was seen; where the next organism has another address, go there."""
        while True:
            running = Running.read(self.loaded.settings)
            async with operator(self.loaded, self.terminal.note) as bus:
                if self._moved:
                    self.terminal.note("the bus is back")
                showing = asyncio.create_task(self._show_all(bus))
                moving = asyncio.create_task(self._moves(bus, running))
                try:
                    await asyncio.wait((showing, moving), return_when=asyncio.FIRST_COMPLETED)
                    if showing.done():
                        return showing.result()
                    self._moved = moving.result()
                finally:
                    showing.cancel()
                    moving.cancel()
                    await asyncio.gather(showing, moving, return_exceptions=True)

    async def _show_all(self, bus: Bus) -> Exit:
        await bus.subscribe(self.pattern, lambda heard: self.arrived.put_nowait((bus.world.elapsed_s(), heard)))
        self.terminal.note(f"watching {self.pattern}; Ctrl-C ends")
        stored = Stored(bus)
        while not self.args.count or self._seen < self.args.count:
            heard_s, heard = self._in_hand = self._in_hand or await self.arrived.get()
            if self.args.gates:
                self._seen += await show_turn(stored, heard, heard_s, self.terminal)
            elif not heard.subject.startswith(INBOX):
                await self._show(stored, heard, heard_s)
                self._seen += 1
            self._in_hand = None
        return Exit.OK

    async def _moves(self, bus: Bus, before: Running | None) -> bool:
        """Say where the bus is gone, and when it is back; return where another organism has it, at another address."""
        linked = True
        while True:
            await bus.world.sleep(WATCH_LOOK_S)
            if linked != bus.wire.connected:
                linked = not linked
                self.terminal.note("the bus is back" if linked else "the bus is gone; this goes on when it is back")
            if not linked and before is not None and self.loaded.settings.nats_url is None:
                after = Running.read(self.loaded.settings)
                if after is not None and after.url != before.url:
                    return True

    async def _show(self, stored: Stored, heard: Delivery, heard_s: float) -> None:
        if lane_of(heard.subject) is not None:
            if (verdict := await stored.verdict(heard, heard_s)) is not None:
                print_verdict(verdict, self.terminal)
            return
        body, problem = decoded(heard.subject, heard.data)
        source = heard.headers.get("ce-source", "?")
        shown = {"subject": heard.subject, "source": source, "reply": heard.reply, "data": body} | (
            {"problem": problem} if problem else {}
        )
        self.terminal.give(shown, line(heard.subject, body, f"{source}{f' ✗ {problem}' if problem else ''}"))
