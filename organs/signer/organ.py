"""The signing proxy: it holds the keys of parts that must not, and signs for each what its rule allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from blake3 import blake3

from organs.signer.rules import Rule, judge, read_rules
from shared.constant import constant
from shared.errors import ConfigFault, Refusal, Refused
from shared.home import Keys
from shared.journal import record
from shared.keys import LocalSigner, Signer
from shared.part.organ import Organ
from shared.settings import Settings
from shared.subjects.signing import SignatureGiven, SignRequest
from shared.world import SimWorld, World, now_ms

SIGNED_PER_SECOND = constant(200, "signatures/s", "ILL-07")


class SignerOrgan(Organ):
    """Signs envelopes for callers. Who asks is said by the subject, on which the bus lets nobody else ask."""

    name: ClassVar[str] = "signer"
    version: ClassVar[str] = "1.0.0"

    def __init__(self, rules: Mapping[str, Rule], keys: Mapping[str, Signer], world: World) -> None:
        self.rules, self.world = rules, world
        self._keys = keys  #: by the names that the rules use
        self._second, self._asked = -1, dict[str, int]()

    @classmethod
    def build(cls, settings: Settings, world: World) -> SignerOrgan:
        if settings.signing_rules is None:
            raise ConfigFault("the signing proxy signs for nobody: set signing_rules to a file with a rule per caller")
        rules = read_rules(settings.signing_rules)
        keys = Keys(settings, world)
        return cls(rules, {rule.key: keys.signer(rule.key, "host") for rule in rules.values()}, world)

    @classmethod
    def simulate(cls, world: SimWorld) -> SignerOrgan:
        rule = Rule(key="desk", subjects=("trial.desk.event.*.noted",))
        return cls({"desk": rule}, {"desk": LocalSigner.generate(world.entropy)}, world)

    async def on_sign(self, request: SignRequest) -> SignatureGiven | Refusal:
        """Judge, sign, and write down who had what signed; a refusal is written down too."""
        digest = blake3(request.message).hexdigest()
        try:
            self._count(request.caller)
            rule = judge(self.rules, request.caller, request.message, self.world.env, now_ms(self.world))
        except Refused as no:
            code, why = no.refusal.code, no.refusal.detail
            record(self.name, "signature_refused", caller=request.caller, code=code, detail=why, digest=digest)
            return no.refusal
        key = self._keys[rule.key]
        signature = key.sign(request.message)
        record(self.name, "signature_made", caller=request.caller, key=key.key_id, digest=digest)
        return SignatureGiven(request.caller, key.key_id, signature)

    def _count(self, caller: str) -> None:
        """Refuse a caller that asks more often than any part has reason to; the others are not disturbed."""
        second = int(self.world.elapsed_s())
        if second != self._second:
            self._second = second
            self._asked.clear()
        self._asked[caller] = asked = self._asked.get(caller, 0) + 1
        if asked > SIGNED_PER_SECOND:
            raise Refused(Refusal("B008", f"{caller} asked {asked} times in a second, {SIGNED_PER_SECOND} are served"))
