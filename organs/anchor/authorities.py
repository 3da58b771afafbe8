"""Time-stamp authorities (RFC 3161) through `openssl ts`: our own, one behind a URL, a simulated one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from organs.anchor.http import exchange
from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.errors import ConfigFault, Fault, Refusal, Refused, StorageFault, Unreachable
from shared.files import private_folder, storing, sync_folder
from shared.world import SimWorld, within

OPENSSL_S = constant(30.0, "s", "COL-05")
AUTHORITY_TIMEOUT_S = constant(15.0, "s", "COL-05")
MAX_TOKEN_BYTES = constant(30_000, "bytes", "X-12")
VALID_DAYS = constant(3_650, "days", "COL-05")
HTTP_OK = 200
_HEADERS = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
_CONFIG = """[tsa]
default_tsa = here

[here]
serial = {folder}/serial
signer_digest = sha256
digests = sha256
default_policy = 1.2.3.4.1
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class LocalAuthority:
    """An authority of this installation: a key of its own in a private folder. Its word convinces nobody else."""

    name, local = "local authority", True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._one_at_a_time = asyncio.Lock()  #: openssl keeps the serial number in a file

    async def stamp(self, digest: bytes) -> bytes:
        async with self._one_at_a_time:
            if not self.folder.exists():
                await self._make()
            with _Scratch() as scratch:
                query = await _query(digest, scratch)
                response = await self._reply(query, scratch)
                await _verify(["-queryfile", str(query)], response, self.folder / "tsa.pem", scratch)
                return response

    async def check(self, digest: bytes, response: bytes) -> None:
        if not self.folder.exists():
            raise Refused(Refusal("A005", "this installation has no authority, so it signed nothing"))
        with _Scratch() as scratch:
            await _verify(["-digest", digest.hex()], response, self.folder / "tsa.pem", scratch)

    async def reply(self, query: bytes) -> bytes:
        """Return the response to anybody's query, as the server of an authority would."""
        async with self._one_at_a_time:
            if not self.folder.exists():
                await self._make()
            with _Scratch() as scratch:
                asked = scratch / "asked"
                asked.write_bytes(query)
                return await self._reply(asked, scratch)

    async def _reply(self, query: Path, scratch: Path) -> bytes:
        signing = ["-inkey", str(self.folder / "tsa.key"), "-signer", str(self.folder / "tsa.pem")]
        config = ["-config", str(self.folder / "tsa.cnf")]
        out = scratch / "response"
        await _openssl("ts", "-reply", *config, "-queryfile", str(query), *signing, "-out", str(out))
        return out.read_bytes()

    async def _make(self) -> None:
        """Make key, certificate and configuration; the folder appears with all of it or not at all."""
        private_folder(self.folder.parent)
        draft = self.folder.with_name(f"{self.folder.name}.draft")
        with storing(draft):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", str(draft / "tsa.key")]
        what = ["-subj", "/CN=Nimmerverse local time-stamp authority", "-days", str(VALID_DAYS), "-sha256"]
        usage = ["-addext", "extendedKeyUsage=critical,timeStamping", "-addext", "keyUsage=critical,digitalSignature"]
        await _openssl("req", "-x509", *key, *what, *usage, "-out", str(draft / "tsa.pem"))
        with storing(draft):
            (draft / "tsa.cnf").write_text(_CONFIG.format(folder=self.folder))
            for made in draft.iterdir():
                made.chmod(0o600)
            sync_folder(draft)
            draft.rename(self.folder)
            sync_folder(self.folder.parent)


class HttpAuthority:
    """An authority behind a URL, trusted by the certificates of a file."""

    local = False

    def __init__(self, url: str, trusted: Path) -> None:
        self.name, self.trusted = url, trusted

    async def stamp(self, digest: bytes) -> bytes:
        with _Scratch() as scratch:
            query = await _query(digest, scratch)
            asked = query.read_bytes()
            status, response = await exchange("POST", self.name, asked, _HEADERS, MAX_TOKEN_BYTES, AUTHORITY_TIMEOUT_S)
            if status != HTTP_OK:
                raise Refused(Refusal("A004", f"the authority {self.name} answered with status {status}"))
            await _verify(["-queryfile", str(query)], response, self.trusted, scratch)
            return response

    async def check(self, digest: bytes, response: bytes) -> None:
        with _Scratch() as scratch:
            await _verify(["-digest", digest.hex()], response, self.trusted, scratch)


class SimAuthority:
    """The simulated authority: its token is a hash that only it can make. It belongs to the simulation alone."""

    name, local = "simulated authority", True

    def __init__(self, world: SimWorld) -> None:
        self._secret = world.entropy(32)

    async def stamp(self, digest: bytes) -> bytes:
        return b"token " + hashlib.sha256(self._secret + digest).digest()

    async def check(self, digest: bytes, response: bytes) -> None:
        if response != await self.stamp(digest):
            raise Refused(Refusal("A005", "the simulated authority did not say this"))


class _Scratch:
    """A private folder for one conversation with openssl."""

    def __enter__(self) -> Path:
        try:
            self.folder = tempfile.TemporaryDirectory(prefix="nimmerverse-tsa-")
        except OSError as error:
            raise StorageFault(f"no temporary folder can be made ({error.strerror}); free some space") from error
        return Path(self.folder.name)

    def __exit__(self, *_: object) -> None:
        self.folder.cleanup()


async def _query(digest: bytes, scratch: Path) -> Path:
    """Return a file with a query for a token over a digest, with a nonce of openssl's."""
    out = scratch / "query"
    await _openssl("ts", "-query", "-digest", digest.hex(), "-sha256", "-cert", "-out", str(out))
    return out


async def _verify(about: Sequence[str], response: bytes, trusted: Path, scratch: Path) -> None:
    shown = scratch / "shown"
    shown.write_bytes(response)
    try:
        await _openssl("ts", "-verify", *about, "-in", str(shown), "-CAfile", str(trusted))
    except _OpensslSaysNo as no:
        raise Refused(Refusal("A005", f"openssl does not accept the token ({no})")) from None


class _OpensslSaysNo(Fault):
    """openssl ended with another status than 0; the sentence is its last line that says why."""


async def _openssl(*arguments: str) -> None:
    """Run openssl to its end; _OpensslSaysNo with what it said, ConfigFault where there is none."""
    try:
        child = await asyncio.create_subprocess_exec(
            "openssl",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise ConfigFault("there is no openssl on the path, which RFC 3161 tokens need; install it") from None
    try:
        _, said = await within(OPENSSL_S, child.communicate())
    except TimeoutError as error:
        raise Unreachable(f"openssl {arguments[0]} {arguments[1]} took more than {OPENSSL_S} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise _OpensslSaysNo(f"openssl {arguments[0]} {arguments[1]}: {_reason(said.decode(errors='replace'))}")


def _reason(said: str) -> str:
    """Return why openssl failed: the reason of its last error, without addresses and line numbers."""
    last = ([line for line in said.splitlines() if line.strip()] or ["no word"])[-1]
    fields = last.split(":")
    return (fields[4] if fields[1:2] == ["error"] and len(fields) > 4 else last)[:MAX_REASON_CHARS]  # noqa: PLR2004
