"""The caller's side of the signing proxy: a signer whose key is somewhere else."""

from __future__ import annotations

from typing import Final

from shared.bus.bus import Bus
from shared.bus.wire import Wire
from shared.constant import constant
from shared.errors import KeyFault, Refusal, Refused, Unreachable
from shared.keys import ProxiedKey, RemoteSigner, Signer, check_public, key_id_of, verify
from shared.subjects.signing import SignatureGiven, SignRequest
from shared.world import World

SIGN_TIMEOUT_S = constant(2.0, "s", "ILL-07")
#: Refusals that may pass: nobody answers, too much waits, the token is away, the request was late.
PASSING: Final = frozenset({"B006", "B008", "B009", "B010"})


def at_work(signer: Signer, world: World, wire: Wire, part: str, version: str) -> Signer | RemoteSigner:
    """Return what signs for a part on its wire: the key at hand, or the proxy that holds it."""
    if isinstance(signer, ProxiedKey):
        return BusSigner(Bus(world, wire, part, version, []), signer.public)
    return signer


class BusSigner:
    """One key behind the signing proxy, asked for over `asking`, a bus of the part that signs with it."""

    def __init__(self, asking: Bus, public: bytes) -> None:
        check_public(public)
        self._asking = asking
        self.public = public
        self.key_id = key_id_of(public)

    async def signature(self, message: bytes) -> bytes:
        """The signature, verified; Refused as the proxy refuses, Unreachable where it may answer later."""
        answer = await self._asking.request(SignRequest(self._asking.part, message), SIGN_TIMEOUT_S)
        if isinstance(answer, Refusal):
            if answer.code in PASSING:
                raise Unreachable(f"the signing proxy does not sign for {self._asking.part} now: {answer}")
            raise Refused(answer)
        assert isinstance(answer, SignatureGiven)
        if not verify(self.public, message, answer.signature):
            raise KeyFault(
                f"the signing proxy answered {self._asking.part} with key {answer.key_id}, which is not a signature by "
                f"{self.key_id}: give this part the public key that its rule names."
            )
        return answer.signature

    def __repr__(self) -> str:
        return f"BusSigner({self.key_id} for {self._asking.part})"
