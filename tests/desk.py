"""An organ that keeps personal data, as a user would write it: it seals what it is told, decides, traces and logs."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from shared.journal import record
from shared.message import MAX_ENTITY_CHARS, Decision, Request, Signal
from shared.part import Garden, Organ
from shared.personal import Personal
from shared.settings import Settings
from shared.subjects.system import Decided
from shared.vault import PersonKeys, people_of, simulated_people
from shared.world import SimWorld, World

Entity = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ENTITY_CHARS)]


class Visit(Request, subject="desk.book.visit.request", reply=Decided, confidential=True):
    """Somebody came; the one message in which their address travels in the open, to this organ alone."""

    visit: Entity
    name: str
    address: str


class Greeted(Decision, subject="desk.book.event.{visit}.greeted"):
    """Somebody was greeted."""

    visit: Entity
    visitor: Personal[str]


class Seen(Signal, subject="desk.book.door.seen"):
    """Somebody was seen at the door; kept for a while."""

    visitor: Personal[str]


class Desk(Organ):
    """Greets whoever comes, and fails where an address begins with `broken`."""

    name: ClassVar[str] = "desk"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "virtual"  #: so that what it says is traced

    def __init__(self, keys: PersonKeys) -> None:
        self.keys = keys

    @classmethod
    def build(cls, settings: Settings, world: World) -> Desk:
        return cls(people_of(settings, world))

    @classmethod
    def simulate(cls, world: SimWorld) -> Desk:
        return cls(simulated_people(world))

    async def on_visit(self, visit: Visit) -> list[Greeted | Seen]:
        """Seal the address, then decide, trace and log with what is sealed."""
        if visit.address.startswith("broken"):
            raise ValueError(f"{visit.address} is no address")
        visitor = await self.keys.seal(visit.name, visit.address)
        record(self.name, "message_refused", subject=visit.visit, code="-", detail=f"greeted {visitor}")
        return [Greeted(visit.visit, visitor), Seen(visitor)]
