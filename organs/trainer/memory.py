"""A simulated crew: the recipe runs at once and in this process, what its workers say comes over simulated time.

Which worker dies, and when, is drawn from the World's chance.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from blake3 import blake3

from organs.trainer.frames import Failed, Finished, Stepped, StoppedAt, Voted
from organs.trainer.port import Attempt, Ended, P, T, Word
from organs.trainer.recipes import Given, recipe_of
from organs.trainer.surroundings import sources
from shared.checkpoints import keep, load
from shared.errors import Refused
from shared.files import private_folder
from shared.keys import LocalSigner
from shared.training.jobs import PPM, keep_every
from shared.training.votes import vote
from shared.world import World

WORD_S = 1.0  #: between two words of one worker
ENVIRONMENT = {"python": "simulated"}


class SimCrew:
    """Starts simulated teams. `crash` is how likely each word is a worker's last."""

    def __init__(self, world: World, crash: float = 0.0, absent: Mapping[str, str] | None = None) -> None:
        self.world, self.crash, self.absent = world, crash, dict(absent or {})

    def missing(self, backend: str) -> str:
        return self.absent.get(backend, "")

    async def aside(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)

    async def start(self, attempt: Attempt) -> SimTeam:
        return SimTeam(self.world, self.crash, attempt)


class SimTeam:
    """The simulated workers of one attempt."""

    def __init__(self, world: World, crash: float, attempt: Attempt) -> None:
        self.world, self.crash = world, crash
        self._pace, self._stopping = attempt.pace_ppm, False
        self._turned = asyncio.Event()
        self._keys: dict[str, bytes] = {}
        self._words: list[Word] = []
        said = [self._carried_out(attempt, rank) for rank in range(attempt.spec.workers)]
        for place in range(max(map(len, said))):  # one after the other, as they would speak
            self._words += [each[place] for each in said if place < len(each)]
        self._stopped: set[str] = set()

    @property
    def keys(self) -> Mapping[str, bytes]:
        return self._keys

    @property
    def pids(self) -> Collection[int]:
        return ()

    async def hear(self) -> Word:
        while not self._pace and not self._stopping:
            await self._turned.wait()
        await self.world.sleep(WORD_S * PPM / (self._pace or PPM))
        worker, said = self._words[0]
        if isinstance(said, Stepped | Voted) and self.world.chance() < self.crash:
            self._words = [word for word in self._words if word[0] != worker]
            return worker, Ended("killed by SIGKILL", well=False)
        self._words.pop(0)
        if self._stopping and isinstance(said, Voted):
            at = next(place for place, word in enumerate(self._words) if word[0] == worker)
            self._words = [word for word in self._words if word[0] != worker]
            self._words.insert(min(at, len(self._words)), (worker, StoppedAt(said.step)))
        return worker, said

    async def pace(self, ppm: int) -> None:
        self._pace = ppm
        self._turned.set()
        self._turned.clear()

    async def agreed(self, step: int) -> None:
        pass

    async def stop(self) -> None:
        self._stopping = True
        await self.pace(self._pace)

    async def end(self) -> None:
        self._words = []

    def _carried_out(self, attempt: Attempt, rank: int) -> list[Word]:
        """Run a worker's whole recipe, and return what it says in order."""
        name, seed = f"worker-{rank}", self.world.entropy(32)
        signer = LocalSigner(seed)
        self._keys[name] = signer.public
        out = attempt.place / name
        shutil.rmtree(out, ignore_errors=True)
        private_folder(out)
        saying = _Saying(name, signer, attempt, out)
        try:
            saying.run(rank)
        except Refused as no:
            saying.words.append((name, Failed(no.refusal.code, str(no))))
        return [*saying.words, (name, Ended("status 0", well=True))]


class _Saying:
    """What one simulated worker says."""

    def __init__(self, name: str, signer: LocalSigner, attempt: Attempt, out: Path) -> None:
        self.name, self._signer, self.attempt, self.out = name, signer, attempt, out
        self.words: list[Word] = []
        self._every, self._samples = keep_every(attempt.spec), 0

    def run(self, rank: int) -> None:
        spec, begun = self.attempt.spec, self.attempt.begun
        recipe = recipe_of(spec.family)
        raw = load(begun.path, begun.digest) if begun else None
        left = recipe.run(Given(spec, self.attempt.data, self.out, rank, spec.workers, raw), self)
        weights, path = keep(self.out / "checkpoints", (self.out / left.weights).read_bytes())
        model = (self.out / left.model).read_bytes()
        self._vote(spec.steps, weights, path)
        about = (weights, blake3(model).hexdigest(), len(model))
        self.words.append((self.name, Finished(left, *about, ENVIRONMENT, sources(recipe.sources))))

    def stepped(self, step: int, loss: float, samples: int) -> None:
        self._samples += samples
        if self.due(step):
            self.words.append((self.name, Stepped(step, round(loss * PPM), self._samples)))

    def due(self, step: int) -> bool:
        return step % self._every == 0 and step < self.attempt.spec.steps

    def keep(self, step: int, checkpoint: bytes) -> None:
        digest, path = keep(self.out / "checkpoints", checkpoint)
        self._vote(step, digest, path)

    def _vote(self, step: int, digest: str, path: Path) -> None:
        given = vote(self._signer, self.attempt.job, step, self.name, digest)
        self.words.append((self.name, Voted(step, digest, given.signature, str(path))))
