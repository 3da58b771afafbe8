"""The vault organ: the log orders an erasure, this organ carries it out, and the log says that it is complete.

Asked, ordered, destroyed, rewritten, erased: every step after the order is repeated until it is done, and a repeat
changes nothing that is done already. A crash at any moment is finished by the next start.
"""

from __future__ import annotations

from typing import ClassVar

from shared.constant import constant
from shared.errors import Exit, Fault
from shared.journal import record
from shared.log.entry import Position
from shared.part.organ import Organ
from shared.personal import PSEUDONYM_BYTES
from shared.settings import Settings
from shared.subjects.privacy import EraseRequest, ErasureOrdered, PersonErased
from shared.vault import People, Unknown, people_of, simulated_people
from shared.world import SimWorld, World

#: Who asks, in the product's own words: they name nobody, even if somebody of this name is enrolled.
ROLES = frozenset({"operator"})


class ErasureDelayed(Fault):
    """An ordered erasure could not be carried out yet: a backup is away, or the vault does not open. It is repeated."""

    retry = True
    exit = Exit.STORAGE


class VaultOrgan(Organ):
    """Destroys what the log ordered to be destroyed. It opens nothing and hands nothing out."""

    name: ClassVar[str] = "vault"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(1_000_000, "micro-lifeforce", "NIM-10")

    def __init__(self, people: People) -> None:
        self.people = people

    @classmethod
    def build(cls, settings: Settings, world: World) -> VaultOrgan:
        return cls(people_of(settings, world))

    @classmethod
    def simulate(cls, world: SimWorld) -> VaultOrgan:
        return cls(simulated_people(world))

    def again(self, world: SimWorld) -> VaultOrgan:
        return VaultOrgan(self.people)

    async def on_erase(self, asked: EraseRequest) -> list[ErasureOrdered]:
        """Order the erasure of a person who has a key. Raises Erased or Unknown where nothing is left to erase.

        The order stays in the log for ever, so it is Refused B002 where its words name anybody.
        """
        role = () if asked.by in ROLES else (asked.by,)
        await self.people.refuse_names(_pseudonym(asked.person), asked.reason, *role)
        return [ErasureOrdered(asked.person, asked.reason, asked.by)]

    async def on_ordered(self, ordered: ErasureOrdered, at: Position) -> list[PersonErased]:
        """Destroy the key, the name and the salts, here and in every copy, then say so."""
        try:
            copies = await self.people.erase(_pseudonym(ordered.person), at.index, at.offset)
        except Fault as fault:
            raise self._delayed(at, fault) from fault
        return [PersonErased(ordered.person, at.index, at.offset, copies)]

    async def on_erased(self, erased: PersonErased, at: Position) -> None:
        """Remember where the log says so: from now on that is the answer to whoever opens something of this person."""
        try:
            await self.people.complete(_pseudonym(erased.person), at.index, at.offset)
        except Fault as fault:
            raise self._delayed(at, fault) from fault

    def _delayed(self, at: Position, fault: Fault) -> ErasureDelayed:
        sentence = f"what ({at.index}, {at.offset}) asks for is not done yet: {fault}"
        record(self.name, "erasure_delayed", index=at.index, detail=sentence)
        return ErasureDelayed(sentence)


def _pseudonym(text: str) -> bytes:
    """Return a pseudonym's bytes; whatever is no pseudonym is nobody."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != PSEUDONYM_BYTES or raw.hex() != text:
        raise Unknown("whatever this stands for, which is no pseudonym,")
    return raw
