"""`keys owner`, `keys propose`, `keys cosign`, `keys submit`: root keys whose owners are several people."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from deploy.ceremony import Place, place_of, propose_genesis, propose_introduce, propose_revoke, submit
from deploy.commands.task import finish
from deploy.proposal import Proposal, check_proposal, cosign, describe, encode_proposal, read_proposal, shown
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import ConfigFault, Exit, KeyFault
from shared.files import write_private
from shared.home import label_of, token_of
from shared.keys import Keyring, Signer, Token, obtain, read_secret
from shared.world import RealWorld, now_ms

KINDS = ("genesis", "introduce", "revoke")


def make_owner(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Make an owner's root key, on their token or in a keyring, and print its lines for the file of `root_keys`."""
    if not args.owner:
        raise ConfigFault("keys owner needs --owner NAME: the person or office that holds the key")
    key = _made(args, loaded)
    told = {"owner": args.owner, "key_id": key.key_id, "public": key.public.hex()}
    terminal.give(told, f'[[roots]]\nowner = "{args.owner}"\npublic = "{told["public"]}"')
    return Exit.OK


def propose(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print a proposal, to be redirected into a file; what it says goes to standard error."""
    kind, *names = args.names or [""]
    if kind not in KINDS or (kind != "genesis" and not names) or (kind == "revoke" and len(names) != 1):
        raise ConfigFault(
            "keys propose needs what: `genesis [PART…]`, `introduce PART…` or `revoke PART --reason TEXT`"
        )

    async def main() -> Proposal:
        async with place_of(loaded) as place:
            return _proposed(place, kind, names, args.reason)

    proposal = finish(main())
    terminal.note("\n".join(describe(proposal)))
    sys.stdout.write(encode_proposal(proposal))
    return Exit.OK


def sign(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Show what is proposed, then add one owner's signatures to the file."""
    path, world = _file(args), RealWorld(loaded.settings.env)
    proposal = read_proposal(path)
    check_proposal(proposal, now_ms(world))
    terminal.note("\n".join(describe(proposal)))
    if not args.yes and not (terminal.interactive and input("  Sign this? Type yes: ").strip() == "yes"):
        raise KeyFault("nothing was signed: read what it says, then answer yes, or give --yes")
    signed = cosign(proposal, _owners_key(args, loaded), now_ms(world))
    write_private(path, encode_proposal(signed))
    owners, needed = signed.signed_by(), signed.threshold
    left = f"{needed - len(owners)} more" if len(owners) < needed else "nobody else"
    terminal.give(shown(signed), f"{owners[-1]} signed; {left} has to; then `nimmerverse keys submit {path}`")
    return Exit.OK


def send(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Append what enough owners signed."""
    proposal = read_proposal(_file(args))

    async def main() -> int:
        async with place_of(loaded) as place:
            return await submit(place, proposal)

    index = finish(main())
    terminal.give(
        shown(proposal) | {"index": index},
        f"appended up to {index}, signed by {', '.join(proposal.signed_by())}",
    )
    return Exit.OK


def _proposed(place: Place, kind: str, names: Sequence[str], reason: str) -> Proposal:
    if kind == "genesis":
        return propose_genesis(place, names)
    return propose_introduce(place, names) if kind == "introduce" else propose_revoke(place, names[0], reason)


def _file(args: Namespace) -> Path:
    if len(args.names) != 1:
        raise ConfigFault(f"keys {args.action} needs the file of the proposal: nimmerverse keys {args.action} FILE")
    return Path(args.names[0])


def _made(args: Namespace, loaded: Loaded) -> Signer:
    if (token := _token(args, loaded)) is not None:
        return token.generate(label_of(loaded.settings, args.key))
    folder, name, passphrase_file = _keyring(args)
    entropy = RealWorld(loaded.settings.env).entropy
    passphrase = obtain(passphrase_file, None, entropy)
    exists = (folder / "keyring.json").exists()
    ring = Keyring.unlock(folder, passphrase) if exists else Keyring.create(folder, passphrase, entropy)
    return ring.create_key(name, args.owner, "root", entropy)


def _owners_key(args: Namespace, loaded: Loaded) -> Signer:
    if (token := _token(args, loaded)) is not None:
        return token.signer(label_of(loaded.settings, args.key))
    folder, name, passphrase_file = _keyring(args)
    return Keyring.unlock(folder, read_secret(passphrase_file, "passphrase")).signer(name)


def _token(args: Namespace, loaded: Loaded) -> Token | None:
    """Return the owner's token where the settings place their key on one and no keyring is given."""
    here = args.keyring is None and args.key in loaded.settings.keys_on_token
    return token_of(loaded.settings) if here else None


def _keyring(args: Namespace) -> tuple[Path, str, Path]:
    if not (args.keyring and args.key and args.passphrase_file):
        raise ConfigFault(
            f"keys {args.action} needs --keyring FOLDER, --key NAME and --passphrase-file FILE, or --key NAME of a key "
            "that pkcs11_keys places on a token"
        )
    return args.keyring, args.key, args.passphrase_file
