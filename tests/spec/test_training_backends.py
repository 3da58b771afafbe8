"""Training backends behind one interface: what is not installed refuses, and torch's gradient is the right one."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np
import psutil
import pytest

from organs.trainer import curve_torch
from organs.trainer.backends import Backends
from organs.trainer.data import Materials
from organs.trainer.points import batch_at
from organs.trainer.port import Attempt, CrewFailed
from organs.trainer.processes import ProcessCrew
from organs.trainer.recipes import RECIPES, recipe_of
from organs.trainer.repeating import Repeating
from organs.trainer.small_network import NAMES, Going, Numbers
from shared.artifacts import FolderStore
from shared.errors import Refused
from shared.world import RealWorld
from tests.trainings import changed, line_spec, stored

WORLD = RealWorld("dev")
POINTS = [f"{x / 64} {math.sin(x / 10)}" for x in range(128)]
PAIRS = np.array([[float(number) for number in text.split()] for text in POINTS], np.float32)


@pytest.mark.spec("ZER-08")
@pytest.mark.parametrize("backend", ["tinygrad", "hivemind"])
def test_a_backend_that_is_not_installed_says_how_to_install_it(tmp_path: Path, backend: str) -> None:
    """Without its environment a backend is T002, with the command that makes it."""
    crew = ProcessCrew(Backends(tmp_path), WORLD)
    assert f"`nimmerverse train backend {backend}` installs it" in crew.missing(backend)
    assert "" == crew.missing("torch")

    async def main() -> None:
        store = FolderStore(tmp_path / "artifacts", WORLD)
        await store.prepare()
        spec = changed(line_spec(await stored(store, POINTS)), family="curve", backend=backend)
        with pytest.raises(Refused, match=r"T002.*not installed"):
            await Repeating(spec, crew, Materials(store, None), tmp_path / "run", WORLD).go()

    asyncio.run(main())


@pytest.mark.spec("ZER-08", "X-06")
def test_an_interpreter_that_may_not_be_run_is_not_installed(tmp_path: Path) -> None:
    """What an installation that was cut short left, or a copy without its modes, is no backend, and is named."""
    backends = Backends(tmp_path)
    python = backends.python("tinygrad")
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o600)
    assert f"tinygrad is not installed here ({python} may not be run)" in backends.missing("tinygrad")
    python.chmod(0o700)
    assert "" == backends.missing("tinygrad")


class Breaking(Backends):
    """The worker's program is gone after so many starts, as where memory or files run out in between."""

    def __init__(self, folder: Path, starts: int) -> None:
        super().__init__(folder)
        self.starts = starts

    def command(self, backend: str) -> list[str]:
        """The real one, until it is gone."""
        self.starts -= 1
        return super().command(backend) if self.starts >= 0 else [str(self.folder)]


@pytest.mark.spec("ILL-02", "X-06")
@pytest.mark.parametrize("begun", [0, 1])
def test_workers_that_the_system_does_not_start_are_a_fault_by_name(tmp_path: Path, begun: int) -> None:
    """CrewFailed says how many began and what the system said of the next; of those that began none is left."""
    crew = ProcessCrew(Breaking(tmp_path, begun), WORLD)
    attempt = Attempt("job", 1, line_spec("d" * 64), tmp_path / "data", tmp_path / "run", None, 1_000_000)

    async def main() -> None:
        with pytest.raises(CrewFailed, match=rf"{begun} of 2 workers began.*Permission denied"):
            await crew.start(attempt)

    before = {child.pid for child in psutil.Process().children()}
    asyncio.run(main())
    assert before == {child.pid for child in psutil.Process().children()}


@pytest.mark.spec("ZER-08")
def test_the_gradient_is_the_one_that_differences_show() -> None:
    """Each derivative that torch computes is that of the loss, as small steps to both sides show it."""
    weights, batch = Going.begin(8, 1).weights, batch_at(PAIRS, 3, 32, 1)
    _, found = curve_torch.gradient(weights, batch)
    for name in NAMES:
        moved = [_moved(weights, name, step) for step in (1e-2, -1e-2)]
        up, down = (curve_torch.gradient(each, batch)[0] for each in moved)
        assert (up - down) / 2e-2 == pytest.approx(float(found[name].flat[0]), abs=2e-3)


def _moved(weights: Numbers, name: str, step: float) -> Numbers:
    changed_one = weights[name].copy()
    changed_one.flat[0] += np.float32(step)
    return {**weights, name: changed_one}


@pytest.mark.spec("ILL-02")
def test_a_checkpoint_of_the_small_network_is_read_as_it_was() -> None:
    """Weights, movement, step and losses come back, so a run goes on as if nothing had been."""
    going = Going.begin(8, 1)
    going.move(np.float32(0.1), {name: np.ones_like(value) for name, value in going.weights.items()})
    going.step, going.losses = 1, [0.5]
    again = Going.read(going.checkpoint())
    assert (1, [0.5], going.checkpoint()) == (again.step, again.losses, again.checkpoint())


@pytest.mark.spec("ILL-02", "ZER-08")
def test_every_recipe_says_what_it_is() -> None:
    """Each family that this installation trains has a recipe of its name, with code that lies here; others are T004."""
    root = Path(__file__).parents[2]
    for family in RECIPES:
        recipe = recipe_of(family)
        assert family == recipe.family
        assert recipe.kinds
        assert [] == [source for source in recipe.sources if not (root / source).exists()]
    with pytest.raises(Refused, match="T004"):
        recipe_of("unheard_of")
