"""`anchor stamp`, `anchor status`, `anchor verify`: evidence from outside that something existed, and what it is worth.

`stamp` and `status` ask the anchor organ. `verify` needs nothing but the proof: no organism, no network.
"""

from __future__ import annotations

import hashlib
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from deploy.attach import operator
from deploy.commands.task import finish
from deploy.terminal import Terminal
from organs.anchor.bitcoin import FileHeaders, Headers, NoHeaders, OneHeader, parse_header
from organs.anchor.kept import Kept
from organs.anchor.ots import DIGEST_BYTES, MAX_PROOF_BYTES, read_detached
from organs.anchor.state import Judged, State, judge
from organs.anchor.store import FileProofStore
from shared.bus import Bus
from shared.config import Loaded
from shared.errors import ConfigFault, Exit, Fault, Refusal, Refused
from shared.files import write_private
from shared.home import place
from shared.message import Request
from shared.subjects.anchor import AnchorRequest, AnchorStatus, AnchorStatusRequest

SUFFIX = ".ots"
HEX_CHARS = 2 * DIGEST_BYTES
ANCHOR_S = 60.0  #: several calendars and an authority may each take their time

MEANING = {
    State.NONE: "there is no anchor",
    State.PENDING_LOCAL: "pending: only this installation says so, which is no evidence for anybody else",
    State.PENDING: "pending: somebody outside has promised or signed it, and Bitcoin does not hold it yet",
    State.BITCOIN_UNCHECKED: "unchecked: the proof leads to a Bitcoin block whose header nobody looked at here",
    State.VERIFIED: "verified: the proof leads to a Bitcoin block header that was checked here",
}


class BadProof(Fault):
    """A proof cannot be read, is of something else, or is contradicted by a block header."""

    exit = Exit.BAD_PROOF


def stamp(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Anchor a file or a digest, and write the OpenTimestamps proof beside the file or where --out says."""
    digest, name = _target(args.target)
    out: Path | None = args.out or (Path(f"{args.target}{SUFFIX}") if name != args.target else None)
    if out is not None:
        _refuse_foreign(out, digest)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            status = await _asked(bus, AnchorRequest(digest, name))
        proof = next((one.proof for one in status.proofs if one.method == "ots"), b"")
        if out is not None and proof:
            write_private(out, proof)
        _tell(status, terminal, out if proof else None)
        return Exit.OK

    return finish(main())


def status(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say how a file or a digest is anchored; 7 where that is less than this environment accepts."""
    if args.target is None:
        return finish(_listed(loaded, terminal))
    digest, _ = _target(args.target)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            found = await _asked(bus, AnchorStatusRequest(digest))
        _tell(found, terminal, None)
        return Exit.OK if found.enough else Exit.REFUSED

    return finish(main())


async def _listed(loaded: Loaded, terminal: Terminal) -> Exit:
    """Print every anchor that is kept in the data folder, whether or not an organism lives on it."""
    kept = Kept(FileProofStore(place(loaded.settings) / "anchors"))
    records = [await kept.read(name) for name in await kept.names()]
    lines = [f"{one.digest}  {one.method:<8}{one.state:<18}{one.what}" for one in records]
    terminal.give([msgspec.to_builtins(one) for one in records], "\n".join(lines) or "nothing was anchored here yet")
    return Exit.OK


def verify(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Judge a proof: 0 for a checked Bitcoin block, 7 for anything less, 19 where something is wrong."""
    try:
        judged, digest = _judged(args, loaded)
    except Refused as no:
        raise BadProof(str(no.refusal)) from None
    state, block = judged.state, judged.block
    told: dict[str, Any] = {"ok": state == State.VERIFIED, "state": state.word, "digest": digest, "by": judged.by}
    lines = [f"digest  {digest}", f"state   {MEANING[state]}", *(f"by      {who}" for who in judged.by)]
    if state == State.VERIFIED and block is not None:
        moment = datetime.fromtimestamp(block.time_s, UTC).isoformat().replace("+00:00", "Z")
        told |= {"block": block.block_hash, "time": moment, "unchecked": _UNCHECKED}
        lines += [f"block   {block.block_hash}", f"time    {moment}, by its miner's clock", f"beyond  {_UNCHECKED}"]
    else:
        told |= {"code": "A001"}
    terminal.give(told, "\n".join(lines))
    return Exit.OK if state == State.VERIFIED else Exit.REFUSED


_UNCHECKED = "not checked here: that the block stands in the chain with the most work, at that height"


def _judged(args: Namespace, loaded: Loaded) -> tuple[Judged, str]:
    """Return what a proof is worth, and the digest it is about; Refused where it is none, or contradicted."""
    proof = read_detached(_bytes_of(args.proof, MAX_PROOF_BYTES))
    digest = proof.message.hex()
    original = args.file or (args.proof.with_suffix("") if args.proof.suffix == SUFFIX else None)
    if original is not None and (args.file or original.exists()):
        found = _digest_of(original).hex()
        if found != digest:
            raise Refused(Refusal("A002", f"the proof is of {digest}, {original} has {found}"))
    judged = judge(proof, _headers(args, loaded))
    if judged.objections:
        raise Refused(judged.objections[0])
    return judged, digest


def _headers(args: Namespace, loaded: Loaded) -> Headers:
    if args.header is not None:
        return OneHeader(parse_header(args.header))
    return NoHeaders() if loaded.settings.anchor_headers is None else FileHeaders(loaded.settings.anchor_headers)


def _target(text: str) -> tuple[bytes, str]:
    """Return the digest that a word means, and what to call it: a file's name, or the digest itself."""
    path = Path(text)
    if path.is_file():
        return _digest_of(path), path.name[:200]
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES or len(text) != HEX_CHARS:
        raise ConfigFault(f"{text} is neither a file nor a SHA-256 digest in {HEX_CHARS} hexadecimal digits; name one")
    return digest, text


def _digest_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}); name a file this user may read") from error


def _bytes_of(path: Path, most: int) -> bytes:
    """Return a file's bytes, at most one more than are allowed."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}); name a proof, FILE{SUFFIX}") from error


def _refuse_foreign(out: Path, digest: bytes) -> None:
    """Raise ConfigFault where a file would be overwritten that is no earlier proof of the same digest."""
    if not out.exists():
        return
    try:
        same = read_detached(_bytes_of(out, MAX_PROOF_BYTES)).message == digest
    except Refused:
        same = False
    if not same:
        raise ConfigFault(f"{out} exists and is no proof of this digest; move it away, or choose another with --out")


async def _asked(bus: Bus, request: Request) -> Any:  # noqa: ANN401 - the request's own reply
    answer = await bus.request(request, ANCHOR_S)
    if isinstance(answer, Refusal):
        raise Refused(answer)
    return answer


def _tell(status: AnchorStatus, terminal: Terminal, out: Path | None) -> None:
    told: dict[str, Any] = msgspec.to_builtins(status, builtin_types=(bytes,))
    told["proofs"] = [{k: v for k, v in proof.items() if k != "proof"} for proof in told["proofs"]]
    lines = [f"digest  {status.digest.hex()}", f"state   {MEANING[State.of(status.state)]}"]
    lines += [f"{one.method:<8}{one.state}, {one.proof_bytes} bytes, by {one.by}" for one in status.proofs]
    lines += [] if status.enough else [f"least   {status.minimum} is accepted in this environment"]
    lines += [] if out is None else [f"proof   {out}"]
    terminal.give(told | {"file": None if out is None else str(out)}, "\n".join(lines))
