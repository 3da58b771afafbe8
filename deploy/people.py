"""People at the command line: which key they vote with, where it lies, and the connection they vote over."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from shared.bus import Bus
from shared.bus.connecting import connect
from shared.config import Loaded
from shared.errors import ConfigFault, KeyFault, Unreachable
from shared.home import Keys, Running, nkey_path
from shared.keys import Keyring, ProxiedKey, Signer, check_public, read_secret
from shared.people import PERSON_VERSION
from shared.settings import Settings
from shared.world import RealWorld


def public_key(text: str) -> bytes:
    """Return a public key that was given in hexadecimal digits; ConfigFault or KeyFault where it is none."""
    try:
        public = bytes.fromhex(text)
    except ValueError:
        raise ConfigFault(f"{text[:80]!r} is no public key, which has 64 hexadecimal digits") from None
    check_public(public)
    return public


def new_key(keys: Keys, name: str, ended: set[str]) -> Signer:
    """Return a person's key in the host's keyring or on its token, another one where the log ended the present one."""
    signer = keys.signer(name, name)
    if isinstance(signer, ProxiedKey):
        raise KeyFault(
            f"the signing proxy casts no ballots: take {name} out of signing_keys, or name a person's own key"
        )
    if signer.key_id in ended:
        keys.check_here(name)
        signer = keys.ring.rotate(name, keys.entropy)[1]
    return signer


def voters_key(args: Namespace, settings: Settings) -> Signer:
    """Return the key that a person votes with: in a keyring of their own, on the token, or in the host's keyring."""
    if args.keyring is not None:
        if args.passphrase_file is None:
            raise ConfigFault("--keyring FOLDER needs --passphrase-file FILE, which opens it")
        ring = Keyring.unlock(args.keyring, read_secret(args.passphrase_file, "passphrase"))
        return ring.signer(args.key or args.voter)
    keys = Keys(settings, RealWorld(settings.env))
    if args.voter not in keys.names():
        raise KeyFault(
            f"this host holds no key of {args.voter}: `nimmerverse people add {args.voter} --role ROLE` makes one, or "
            "give the folder of their own with --keyring"
        )
    return keys.signer(args.voter, args.voter)


@asynccontextmanager
async def voice(loaded: Loaded, name: str, signer: Signer) -> AsyncGenerator[Bus]:
    """Yield a bus on which a person speaks, by their own connection: it may publish their ballots and nothing else."""
    settings = loaded.settings
    running = Running.read(settings) if settings.nats_url is None else None
    if running is not None:
        wire = await connect(running.url, name, nkey=nkey_path(settings, name), fast=settings.fast)
    elif settings.nats_url is not None:
        seed, creds = settings.nats_nkey, settings.nats_creds
        wire = await connect(settings.nats_url, name, nkey=seed, creds=creds, private_inbox=False, fast=settings.fast)
    else:
        raise Unreachable(f"nothing runs on {settings.home} for {settings.env}")
    bus = Bus(RealWorld(settings.env), wire, name, PERSON_VERSION, [signer])
    try:
        yield bus
    finally:
        await bus.drain()
