"""Changing a part's signing key while nothing else runs: rotation by the key itself, revocation by the root.

Only the host is started, no part and no steward: a change that was cut off is finished by giving the command again,
even where it is the steward's own key that no longer fits the log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from deploy.host import HOST_OWNER, ROOT, STEWARD, host_for
from shared.bus import Bus, Draft
from shared.config import Loaded
from shared.errors import ConfigFault, KeyFault
from shared.home import Keys
from shared.keys import Signer
from shared.subjects.keys import KEYS_ENTITY, KEYS_LANE, KeyRevoked, KeyRotated
from shared.version import VERSION
from shared.world import new_id


async def rotate(loaded: Loaded, part: str) -> tuple[str, str, int]:
    """Replace a part's key by a new one it signs for itself; return (old id, new id, log index of the change).

    The successor is sealed beside the old key before the log hears of it, so a crash at any point can be repeated.
    """
    async with _root(loaded, part) as (keys, root):
        keys.check_here(part)
        old, staged = keys.ring.signer(part), keys.ring.staged(part)
        known = root.prefix.keys.keys.get(staged.key_id) if staged is not None else None
        if known is not None:  # the log has it already: only the keyring was not told
            keys.ring.commit_rotation(part, keys.entropy)
            return old.key_id, known.key_id, known.first - 1
        _check_speaks(root, part, old)
        new = keys.ring.stage_rotation(part, keys.entropy)
        own = Bus(root.world, root.wire, part, VERSION, [old])
        rotated = KeyRotated(KEYS_ENTITY, old.key_id, new.key_id, new.public)
        receipt = await own.append(Draft(rotated, new_id(own.world)))
        keys.ring.commit_rotation(part, keys.entropy)
        return old.key_id, new.key_id, receipt.index


async def revoke(loaded: Loaded, part: str, reason: str) -> tuple[str, int]:
    """End a part's key from the next index on, signed by the root; its next grant introduces a new one."""
    if not reason:
        raise ConfigFault("keys revoke needs --reason TEXT: the log keeps why a key ended")
    if loaded.settings.root_keys is not None:
        how = f"`nimmerverse keys propose revoke {part} --reason TEXT`"
        raise KeyFault(f"the root keys are with their owners, who revoke the key of {part}: {how}")
    async with _root(loaded, part) as (keys, root):
        current = root.prefix.keys.current(part)
        if current is not None:
            await root.append(Draft(KeyRevoked(KEYS_ENTITY, current.key_id, None, reason), new_id(root.world)))
        ended = _ended(root, part)
        if ended is None:
            raise KeyFault(f"the log knows no key of {part}; it is introduced when {part} first runs")
        if part in (*keys.settings.keys_on_token, *keys.proxied):  # their people make another one there
            return ended
        while keys.ring.signer(part).key_id in root.prefix.keys.keys:  # one more where a rotation had been cut off
            keys.ring.rotate(part, keys.entropy)
        return ended


@asynccontextmanager
async def _root(loaded: Loaded, part: str) -> AsyncGenerator[tuple[Keys, Bus]]:
    """Yield the keyring, and the root's bus with the key lane read; KeyFault where the part has no key to change."""
    host = host_for(loaded.settings)
    await host.start()
    try:
        if part not in host.keys.names() or part == ROOT:
            known = ", ".join(name for name in host.keys.names() if name != ROOT) or "none yet"
            why = "the root stands in the genesis and ends with its log" if part == ROOT else "it has no key here"
            raise KeyFault(f"the key of {part} cannot be changed: {why}; keys of this environment are {known}")
        signers = [host.signer(ROOT, HOST_OWNER)] if loaded.settings.root_keys is None else []
        root = Bus(host.world(ROOT), await host.wire(STEWARD), ROOT, VERSION, signers)
        try:
            await root.follow(KEYS_LANE.format(env=root.env))
            yield host.keys, root
        finally:
            await root.drain()
    finally:
        await host.stop()


def _check_speaks(root: Bus, part: str, key: Signer) -> None:
    """Refuse to rotate a key that does not speak in the log: nothing it signs there would count."""
    known = root.prefix.keys.keys.get(key.key_id)
    if known is None:
        raise KeyFault(f"the log does not know the key of {part} yet; it is introduced when {part} first runs")
    if known.last is not None:
        raise KeyFault(
            f"the key of {part} ended in the log at {known.last}; finish with `nimmerverse keys revoke {part}`"
        )


def _ended(root: Bus, part: str) -> tuple[str, int] | None:
    """Return the id and the last index of the part's key that ended last."""
    ended = [(key.last, key.key_id) for key in root.prefix.keys.keys.values() if key.part == part and key.last]
    index, key_id = max(ended, default=(None, ""))
    return None if index is None else (key_id, index)
