"""Changing a part's signing key while nothing else runs: rotation by the key itself, revocation by the root."""

from __future__ import annotations

from deploy.attach import living
from shared.bus import Bus, Draft
from shared.config import Loaded
from shared.errors import ConfigFault, KeyFault
from shared.home import Keys, Running
from shared.keys import Signer
from shared.subjects.keys import KEYS_ENTITY, KEYS_LANE, KeyRevoked, KeyRotated
from shared.version import VERSION
from shared.world import RealWorld, new_id


async def rotate(loaded: Loaded, part: str) -> tuple[str, str, int]:
    """Replace a part's key by a new one it signs for itself; return (old id, new id, log index of the change).

    The successor is sealed beside the old key before the log hears of it, so a crash at any point can be repeated.
    """
    async with living(_alone(loaded), ()) as (_, organism):
        keys = Keys(loaded.settings, RealWorld(loaded.settings.env))
        old, new = _known(keys, part), keys.ring.stage_rotation(part, keys.entropy)
        bus = _bus(organism.steward.bus, part, old)
        await bus.follow(KEYS_LANE.format(env=bus.env))
        known = bus.prefix.keys.keys.get(new.key_id)
        if known is None:
            rotated = KeyRotated(KEYS_ENTITY, old.key_id, new.key_id, new.public)
            index = (await bus.append(Draft(rotated, new_id(bus.world)))).index
        else:
            index = known.first - 1
        keys.ring.commit_rotation(part, keys.entropy)
        return old.key_id, new.key_id, index


async def revoke(loaded: Loaded, part: str, reason: str) -> tuple[str, int]:
    """End a part's key from the next index on, signed by the root; its next grant introduces a new one."""
    if not reason:
        raise ConfigFault("keys revoke needs --reason TEXT: the log keeps why a key ended")
    async with living(_alone(loaded), ()) as (_, organism):
        keys = Keys(loaded.settings, RealWorld(loaded.settings.env))
        mine, root = _known(keys, part), organism.steward.root
        await root.follow(KEYS_LANE.format(env=root.env))
        current = root.prefix.keys.current(part)
        if current is not None:
            await root.append(Draft(KeyRevoked(KEYS_ENTITY, current.key_id, None, reason), new_id(root.world)))
        ended = root.prefix.keys.keys.get(mine.key_id)
        if ended is None or ended.last is None:
            raise KeyFault(
                f"the log knows no key of {part} that could be revoked; it is introduced when {part} first runs"
            )
        keys.ring.rotate(part, keys.entropy)
        return mine.key_id, ended.last


def _alone(loaded: Loaded) -> Loaded:
    running = Running.read(loaded.settings)
    if running is not None:
        raise ConfigFault(
            f"process {running.pid} runs on {loaded.settings.home}; stop it first: it holds the old key in memory"
        )
    return loaded


def _known(keys: Keys, part: str) -> Signer:
    if part not in keys.ring.names():
        known = ", ".join(sorted(keys.ring.names()))
        raise KeyFault(f"there is no key of {part} in this environment; known are {known}")
    return keys.ring.signer(part)


def _bus(steward: Bus, part: str, signer: Signer) -> Bus:
    """A bus that speaks with the part's own key over the steward's connection, which alone reaches the key lane."""
    return Bus(steward.world, steward.wire, part, VERSION, [signer])
