"""Rest: a part that may rest takes nothing while there is no lifeforce, and says so (NIM-10).

The thalamus says it again and again while there is none. A word that stays out for longer than a beat of 30 seconds is
not believed any more: whoever keeps the account is gone, and the lower steps work without it.
"""

from __future__ import annotations

from shared.constant import constant
from shared.subjects.system import LifeforceTold
from shared.world import World

BELIEVED_S = constant(30.0, "s", "NIM-10")


class Rest:
    """Whether a part rests, since when it was last told to, and why."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.resting, self.why = False, ""
        self._told_s = 0.0

    @property
    def forgotten(self) -> bool:
        """Whether it rests though nobody has said so for longer than a beat."""
        return self.resting and self._world.elapsed_s() > self._told_s + BELIEVED_S

    def hear(self, told: LifeforceTold | None) -> bool:
        """Take what was told, or that nobody tells any more; say whether that turned it."""
        before, self._told_s = self.resting, self._world.elapsed_s()
        self.resting = told is not None and told.resting
        if told is None:
            self.why = f"nobody has said for {BELIEVED_S:g} s that there is no lifeforce"
        else:
            self.why = f"the balance of beat {told.beat} is {told.balance_ulf} ulf"
        return self.resting != before
