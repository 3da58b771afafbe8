"""The signing proxy: a part asks on a subject of its own, so that the bus itself says who asks."""

from __future__ import annotations

from shared.message import Reply, Request


class SignatureGiven(Reply, subject="signing.proxy.signed.{caller}"):
    """One signature by the key that the proxy holds for the caller."""

    caller: str
    key_id: str
    signature: bytes


class SignRequest(Request, subject="signing.proxy.sign.{caller}", reply=SignatureGiven):
    """Ask for the signature of an envelope: `message` is its DSSE pre-authentication encoding, and nothing else."""

    caller: str
    message: bytes
