"""A worker: a process that carries out a job's recipe, tells how far it is, and signs what it has.

`python -m organs.trainer.worker`; its first line on standard input says everything, later ones how fast it may go and
when to stop. It is told its place among the others as torchrun tells it (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT),
so whatever runs under torchrun runs here. It ends with its trainer: the kernel kills it when that is gone, and where
its standard input ends, it ends too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from blake3 import blake3

from organs.trainer.frames import (
    Agreed,
    Begin,
    Failed,
    Finished,
    Paced,
    Said,
    Stepped,
    Stop,
    StoppedAt,
    Told,
    Voted,
    line,
    read_begin,
    read_told,
)
from organs.trainer.recipes import Given, Stopped, recipe_of
from organs.trainer.surroundings import environment, sources
from shared.checkpoints import keep, load
from shared.engine.program import die_with
from shared.errors import Fault, Refused
from shared.keys import LocalSigner
from shared.training.jobs import PPM, keep_every
from shared.training.votes import vote
from shared.world import RealWorld, World

TELL_S = 0.25  #: between two words on how far it is
LOOK_S = 1.0  #: how long one wait lasts; then it looks again, for a signal may have come
AHEAD = 4  #: checkpoints that nobody has agreed on yet; then it waits


class Worker:
    """One worker. Owns its key and its folder; `pace`, `stop` and `agreed` come from outside, by line or signal."""

    def __init__(self, begin: Begin, out: BinaryIO, world: World) -> None:
        self.begin, self._out, self.world = begin, out, world
        self._signer = LocalSigner(begin.seed)
        self._every = keep_every(begin.spec)
        self._stopping = False
        self._turned = threading.Event()
        self._pace = begin.pace_ppm
        self._waiting: dict[int, Path] = {}  #: checkpoints by step, that nobody has agreed on
        self._samples, self._told_s, self._since_s = 0, 0.0, world.elapsed_s()
        self._saying = threading.Lock()

    def pace(self, ppm: int) -> None:
        """Go at another pace from here on."""
        self._pace = ppm
        self._turned.set()

    def agreed(self, step: int) -> None:
        """Forget the checkpoints up to one that was agreed on."""
        for old in [each for each in list(self._waiting) if each <= step]:
            self._waiting.pop(old).unlink(missing_ok=True)
        self._turned.set()

    def stop(self, *_: object) -> None:
        """Stop at the next checkpoint; one that holds still goes on to it. Takes no lock, for a signal calls it."""
        self._stopping, self._pace = True, PPM

    def say(self, said: Said) -> None:
        """Tell the trainer."""
        with self._saying:
            self._out.write(line(said))
            self._out.flush()

    # What a recipe tells

    def stepped(self, step: int, loss: float, samples: int) -> None:
        self._samples += samples
        now = self.world.elapsed_s()
        if now - self._told_s >= TELL_S or step == self.begin.spec.steps:
            self._told_s = now
            self.say(Stepped(step, round(loss * PPM), self._samples))
        self._rest(now - self._since_s)
        self._since_s = self.world.elapsed_s()

    def due(self, step: int) -> bool:
        return step % self._every == 0 and step < self.begin.spec.steps

    def keep(self, step: int, checkpoint: bytes) -> None:
        folder = Path(self.begin.out) / "checkpoints"
        digest, path = keep(folder, checkpoint)
        self._vote(step, digest, path)
        self._waiting[step] = path
        while len(self._waiting) > AHEAD and not self._stopping:
            self._wait(LOOK_S)
        if self._stopping:
            self.say(StoppedAt(step))
            raise Stopped

    def run(self) -> None:
        """Carry out the recipe, and vote for what it left."""
        spec, begin = self.begin.spec, self.begin
        recipe = recipe_of(spec.family)
        begun = load(Path(begin.begun), begin.digest) if begin.begun else None
        out = Path(begin.out)
        left = recipe.run(Given(spec, Path(begin.data), out, begin.rank, begin.world_size, begun), self)
        weights, path = keep(out / "checkpoints", (out / left.weights).read_bytes())
        model = (out / left.model).read_bytes()
        self._vote(spec.steps, weights, path)
        digest = blake3(model).hexdigest()
        self.say(Finished(left, weights, digest, len(model), environment(), sources(recipe.sources)))

    def _vote(self, step: int, digest: str, path: Path) -> None:
        given = vote(self._signer, self.begin.job, step, self.begin.worker, digest)
        self.say(Voted(step, digest, given.signature, str(path)))

    def _rest(self, computed_s: float) -> None:
        """Wait so long that computing takes only its share of the time; hold still while there is no power at all."""
        while not self._pace:
            self._wait(LOOK_S)
        if self._pace < PPM:
            self._wait(computed_s * (PPM / self._pace - 1))

    def _wait(self, seconds: float) -> None:
        self._turned.wait(seconds)
        self._turned.clear()


def main() -> None:
    """Read what to do, and do it."""
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print; only frames go out
    told = os.fdopen(
        os.dup(0), "rb"
    )  # a process that a library forks closes `sys.stdin`: no thread may be reading that
    begin = read_begin(told.readline())
    if begin.spec.backend != "hivemind":  # that leaves processes behind; `_listen` ends the whole group
        die_with(begin.parent)
    worker = Worker(begin, said, RealWorld("worker"))
    signal.signal(signal.SIGTERM, worker.stop)
    threading.Thread(target=_listen, args=(worker, told), daemon=True).start()
    sys.excepthook = _last_word(worker)
    with contextlib.suppress(Stopped):
        _run(worker)
    said.flush()
    os._exit(0)  # the thread that listens would hold the process


def _run(worker: Worker) -> None:
    """Run, and tell which no or which trouble it ends of."""
    try:
        worker.run()
    except Stopped:
        raise
    except Refused as no:
        worker.say(Failed(no.refusal.code, str(no)))
    except ImportError as error:
        worker.say(Failed("T002", f"{error}; what trains this is not installed: pip install 'nimmerverse[train]'"))
    except Fault as fault:
        worker.say(Failed("", str(fault)))


def _last_word(worker: Worker) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """Return the hook that tells the trainer what this process ends of, whatever a recipe raised."""

    def tell(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        worker.say(Failed("", f"{kind.__name__}: {error}"))
        os._exit(1)  # the thread that listens would hold the process

    return tell


def _listen(worker: Worker, lines: BinaryIO) -> None:
    """Hear what the trainer says, until it is gone."""
    for raw in lines:
        told: Told = read_told(raw)
        match told:
            case Paced():
                worker.pace(told.ppm)
            case Agreed():
                worker.agreed(told.step)
            case Stop():
                worker.stop()
    os.killpg(
        0, signal.SIGKILL
    )  # the trainer is gone: the group is this worker's own, and whatever it started goes too


if __name__ == "__main__":
    main()
