"""The notary and a witness under simulated time: crashes, lost answers and a log that grows, at many seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from organs.notary import Cosigners, MemoryShelf, NotaryOrgan, SimPost
from organs.witness import MemoryMemory, Witness
from shared.bus import Bus, Draft
from shared.bus.sim import Faults
from shared.envelope import leaf_of
from shared.errors import Fault
from shared.keys import LocalSigner
from shared.log.checkpoint import log_keys, open_checkpoint, origin_of
from shared.log.entry import Entry
from shared.log.note import NoteKey
from shared.log.tiles import CHECKPOINT
from shared.log.tree import root_of, sha256
from shared.log.witness import Answer
from shared.part import Runner
from shared.world import SimWorld, new_id
from tests.ground import ENV, Founded, Noted, SimGround, play_sim

SEEDS = range(20)
URL, KEY = "http://witness.test", LocalSigner(bytes([3]) * 32)
ROUNDS = 25
TROUBLE = Faults(drop=0.1, duplicate=0.1, delay_s=0.5, lose_ack=0.1)


class Life:
    """A notary that crashes, a witness that is often away, and every checkpoint that readers could see."""

    def __init__(self, ground: SimGround, bus: Bus, signer: LocalSigner, desk: Bus) -> None:
        self.ground, self.bus, self.signer, self.desk = ground, bus, signer, desk
        self.chance = ground.world.fork("chance").chance
        self.shelf, self.memory = MemoryShelf(), MemoryMemory()
        self.shown: dict[str, bytes] = {}
        self.starts = self.crashes = self.size = 0

    async def run(self) -> None:
        """Grow, beat, crash, and look."""
        genesis = await self.bus.keys_until(2)
        assert genesis.fingerprint is not None
        plain, _ = log_keys(origin_of(ENV, genesis.fingerprint, 1), self.signer.public)
        self.witness = Witness("witness.test", KEY, (plain,), self.memory, lambda: 1)
        runner = await self.start()
        for n in range(ROUNDS):
            drafts = [Draft(Noted("ada", n), new_id(self.ground.world)) for _ in range(1 + int(self.chance() * 20))]
            await self.desk.append_many(drafts)
            await self.ground.world.sleep(12 * self.chance())
            if self.chance() < 0.5:
                self.crashes += 1
                await runner.halt()
                await runner.bus.wire.close()
                runner = await self.start()
            await self.look()
        await runner.stop()
        await self.look()

    async def start(self) -> Runner:
        """Start the notary on what the last one left; again, if the bus is in trouble."""
        while True:
            self.starts += 1
            world = self.ground.world
            assert isinstance(world, SimWorld)
            world = world.fork(f"notary/{self.starts}")
            post = SimPost(world, {URL: self.answer}, delay_s=1.5)
            organ = NotaryOrgan(self.shelf, world, Cosigners(post, [URL], [self.witness.key]))
            bus = Bus(world, await self.ground.wire("notary"), "notary", "1", [self.signer])
            runner = Runner(organ, bus, handshake=False)
            try:
                await runner.start()
            except Fault:
                await world.sleep(1)
            else:
                return runner

    def answer(self, body: bytes) -> Answer:
        """The witness's answer, which is lost now and then after it was remembered."""
        said = self.witness.add_checkpoint(body)
        return said if self.chance() < 0.8 else Answer(502, "text/plain", b"")

    async def look(self) -> None:
        """Hold that what is shown is the log's own, and keep it."""
        raw = self.shelf.tiles.get(CHECKPOINT)
        if raw is None:
            return
        seen = open_checkpoint(raw, self.signer.public).checkpoint
        entries: list[Entry] = []
        while more := await self.bus.entries(len(entries)):
            entries += more
        assert self.size <= seen.size, "readers never see the log shrink"
        self.size = seen.size
        assert seen.root == root_of([leaf_of(entry) for entry in entries[: seen.size]], sha256)
        self.shown[str(seen.size)] = raw

    def cosigned(self, key: NoteKey) -> int:
        """How many of the shown checkpoints carry the witness's line."""
        return sum(
            open_checkpoint(raw, self.signer.public, witnesses=(key,)).witnesses == (key,)
            for raw in self.shown.values()
        )


def lived(seed: int) -> Life:
    """One life at a seed."""
    lives: list[Life] = []

    async def body(ground: SimGround) -> None:
        founded = await Founded.on(ground)
        signer = await founded.introduce("notary", f"{ENV}.trial.notary.event.>")
        desk = Bus(ground.world, await ground.wire("desk"), "desk", "1", [await founded.introduce("desk")])
        ground.server.faults = TROUBLE
        ear = Bus(ground.world, await ground.wire("ear"), "ear", "1", [])
        lives.append(Life(ground, ear, signer, desk))
        await lives[0].run()

    play_sim(body, seed)
    return lives[0]


@pytest.mark.spec("X-04", "X-08")
@pytest.mark.parametrize("count_of_seeds", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_at_every_seed_one_history_is_signed_and_cosigned(count_of_seeds: int) -> None:
    """Over the seeds of crashes and lost answers: what is shown is the log, the witness sees no fork and cosigns."""
    count: Callable[[Life], int] = lambda life: life.cosigned(life.witness.key)  # noqa: E731
    lives = [lived(seed) for seed in SEEDS[:count_of_seeds]]
    assert [[]] * len(lives) == [life.witness.forks for life in lives]
    assert all(life.crashes > 3 for life in lives)
    assert all(len(life.shown) > 5 for life in lives)
    assert sum(map(count, lives)) > 2 * len(lives)
